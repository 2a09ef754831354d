"""The change of RoPE: what the configuration gets, and what is refused."""

import pytest

from ropediag.errors import ConfigError
from ropediag.rope_parameters import change_rope

PLAIN = {"rope_type": "default", "rope_theta": 10_000.0}


def test_a_new_base_leaves_the_rest_as_it_was():
    yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}
    assert change_rope(yarn, 64, 128, 5e5, None) == yarn | {"rope_theta": 5e5}


def test_ntk_is_a_larger_base():
    changed = change_rope(PLAIN, 64, 128, None, {"rope_type": "ntk", "factor": 4.0})
    assert changed["rope_type"] == "default"
    assert changed["rope_theta"] == pytest.approx(10_000 * 4 ** (64 / 62))


def test_a_rule_keeps_the_part_of_the_head_that_rotates_and_names_the_training_length():
    partial = PLAIN | {"partial_rotary_factor": 0.25}
    changed = change_rope(partial, 16, 2048, 20_000.0, {"rope_type": "yarn", "factor": 8.0})
    assert changed == {
        "rope_type": "yarn",
        "rope_theta": 20_000.0,
        "partial_rotary_factor": 0.25,
        "factor": 8.0,
        "original_max_position_embeddings": 2048,
    }


def test_layers_of_different_kinds_are_refused():
    with pytest.raises(ConfigError, match="different RoPE parameters"):
        change_rope({"full_attention": PLAIN, "sliding_attention": PLAIN}, 64, 128, 1e6, None)
