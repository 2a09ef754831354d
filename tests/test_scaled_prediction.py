"""Predictions under a scaling rule: the same from numbers and from a config.json that holds the rule."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from ropediag.cli import build_app
from ropediag.errors import ConfigError
from ropediag.prediction import predict
from ropediag.rope import inv_freq
from ropediag.scaling import ntk_base, yarn_inv_freq

NUMBERS = {"base": 1e4, "train_len": 4096, "rotary_dim": 128, "target_len": 16384}
LONGROPE = {
    "short_factor": [1.0 + 0.01 * pair for pair in range(64)],
    "long_factor": [1.5 + pair for pair in range(64)],
}
ORIGINAL = {"original_max_position_embeddings": 4096}
RULES = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0} | ORIGINAL,
    "yarn": {"rope_type": "yarn", "factor": 4.0} | ORIGINAL,
    "own ramp": {"rope_type": "yarn", "factor": 4.0, "beta_fast": 24.0, "truncate": False} | ORIGINAL,
    "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    | ORIGINAL,
    "longrope": {"rope_type": "longrope", **LONGROPE} | ORIGINAL,
    "proportional": {"rope_type": "proportional", "factor": 2.0, "partial_rotary_factor": 0.5},
}


@pytest.fixture
def checkpoint(tmp_path):
    def write(rope_parameters, **entries):
        config = {
            "model_type": "llama",
            "hidden_size": 4096,
            "num_attention_heads": 32,
            "num_hidden_layers": 2,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_theta": 1e4, **rope_parameters},
        }
        (tmp_path / "config.json").write_text(json.dumps({**config, **entries}))
        return tmp_path

    return write


def without_sources(prediction):
    return replace(prediction, source="", sources={}, phases=())


@pytest.mark.parametrize("rule", RULES)
def test_numbers_and_a_config_with_the_same_rule_predict_the_same(checkpoint, rule):
    from_config = predict(checkpoint(RULES[rule]), train_len=4096, target_len=16384)
    from_numbers = predict(scaling=RULES[rule], **NUMBERS)
    onto_plain = predict(checkpoint({}), train_len=4096, target_len=16384, scaling=RULES[rule])
    assert from_numbers.rule == RULES[rule]["rope_type"]
    if rule == "proportional":  # a config of this rule was pretrained with it, plain RoPE was not
        assert from_numbers.predicted_limit == from_config.predicted_limit == onto_plain.predicted_limit
    else:
        assert without_sources(from_numbers) == without_sources(from_config) == without_sources(onto_plain)


@pytest.mark.parametrize(
    ("name", "factor", "rule"),
    [("linear", 4, "linear"), ("dynamic", 2, "dynamic"), ("yarn", 4, "yarn"), ("llama3", 8, "llama3")],
)
def test_a_name_and_a_factor_refer_to_the_training_length(name, factor, rule):
    named = predict(scaling=name, factor=factor, **NUMBERS)
    assert named == predict(scaling=RULES[rule], **NUMBERS)


def test_yarn_ends_where_its_slow_pairs_leave_their_angles():
    found = predict(scaling="yarn", factor=4.0, **NUMBERS)
    np.testing.assert_allclose(found.inv_freq, yarn_inv_freq(128, 1e4, 4.0, 4096), rtol=1e-14)
    np.testing.assert_array_equal(found.pretrain_inv_freq, inv_freq(128, 1e4))
    assert (found.critical_dimension, found.first_untrained.pair) == (92, 46)
    assert found.predicted_limit == pytest.approx(4 * 4096)  # pairs from 46 on turn four times slower
    assert found.first_untrained.period == pytest.approx(4 * 4711.72427801674)


def test_llama31_from_numbers_alone():
    found = predict(base=5e5, train_len=8192, rotary_dim=128, scaling="llama3", factor=8)
    assert (found.critical_dimension, found.predicted_limit) == (70, pytest.approx(65_536))
    assert found.first_untrained.period == pytest.approx(65749.746)


def test_ntk_is_another_base_under_the_extended_law():
    found = predict(scaling="ntk", factor=4.0, tune_len=4096, **NUMBERS)
    assert (found.base, found.pretrain_base) == (pytest.approx(40889.942432), 1e4)
    assert found.sources["base"] == "ntk, factor 4"
    assert found.sources["pretrain_base"] == "same as base"
    plain = predict(**{**NUMBERS, "base": ntk_base(128, 1e4, 4.0)}, pretrain_base=1e4, tune_len=4096)
    assert without_sources(found) == without_sources(plain)
    assert found.predicted_limit == pytest.approx(2 * np.pi * 40889.942432 ** (92 / 128))


def test_a_rule_replaces_that_of_the_config_and_keeps_the_part_that_rotates(checkpoint):
    folder = checkpoint(RULES["llama3"] | {"partial_rotary_factor": 0.5})
    found = predict(folder, scaling="linear", factor=2.0)
    assert (found.rule, found.rotary_dim, found.train_len) == ("linear", 64, 4096)
    np.testing.assert_allclose(found.inv_freq, inv_freq(64, 1e4) / 2)
    assert found.sources["train_len"] == "original_max_position_embeddings"


def test_a_rule_may_state_the_training_length():
    found = predict(base=1e4, rotary_dim=128, scaling=RULES["yarn"])
    assert (found.train_len, found.sources["train_len"]) == (4096, "the scaling rule")


def test_the_search_for_retrieval_bases_can_be_left_out():
    found = predict(retrieval=False, **NUMBERS).target
    whole = predict(**NUMBERS).target
    assert found == replace(whole, retrieval_base=None, retrieval_base_all=None)
    assert whole.retrieval_base is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scaling": "yarn"}, "--scaling and --factor go together"),
        ({"factor": 4.0}, "--scaling and --factor go together"),
        ({"scaling": "longrope", "factor": 4.0}, "must be one of linear.*Pass other rules whole"),
        ({"scaling": {"factor": 4.0}}, "names its rope_type"),
        ({"scaling": {"rope_type": "own"}}, "got 'own'"),
        ({"scaling": {"rope_type": "linear"}}, "needs a positive factor: got None"),
        ({"scaling": {"rope_type": "ntk"}}, "ntk needs a factor"),
        ({"scaling": {"rope_type": "longrope"}}, "short_factor and long_factor"),
        ({"scaling": {"rope_type": "longrope", "short_factor": [0], "long_factor": [1]}}, "got \\[0\\]"),
        ({"scaling": {"rope_type": "yarn", "factor": 4.0, "beta_fast": "x"}}, "beta_fast.*got 'x'"),
        ({"scaling": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e6}}, "pass it as the base"),
        ({"scaling": "yarn", "factor": 0.5}, "at least 1.*got 0.5"),
        ({"scaling": "yarn", "factor": float("nan")}, "got nan"),
        ({"scaling": "ntk", "factor": 2.0, "rotary_dim": 2}, "rotary_dim of 4 or more: got 2"),
        ({"train_len": 7, "target_len": 65536}, "no finite number"),
    ],
)
def test_rules_that_cannot_be_applied_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        predict(**{**NUMBERS, **change})


def test_layers_of_different_kinds_take_no_rule(checkpoint):
    kinds = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}
    folder = checkpoint(kinds, layer_types=list(kinds), sliding_window=64, model_type=None)
    with pytest.raises(ConfigError, match="different RoPE, which a rule cannot change"):
        predict(folder, train_len=4096, scaling="yarn", factor=2.0)


def run(*words):
    flags = ["--base", "1e4", "--train-len", "4096", "--rotary-dim", "128", "--json"]
    return CliRunner().invoke(build_app(), ["predict", *flags, *words])


def test_the_command_takes_a_rule_by_name_or_whole():
    named = json.loads(run("--scaling", "yarn", "--factor", "4").output)
    whole = json.loads(run("--scaling", '{"rope_type": "yarn", "factor": 4}').output)
    assert named == whole
    assert (named["rule"], round(named["predicted_limit"])) == ("yarn", 16384)
    assert isinstance(run("--scaling", "{yarn}").exception, ConfigError)


def test_a_question_about_a_rule_is_not_answered_with_bases_of_plain_rope():
    asked = [
        "predict",
        "--base",
        "1e4",
        "--train-len",
        "4096",
        "--rotary-dim",
        "128",
        "--target-len",
        "65536",
    ]
    plain = CliRunner().invoke(build_app(), asked).output
    assert "tune with base" in plain
    assert "for B_m >= 0" in plain
    scaled = CliRunner().invoke(build_app(), [*asked, "--scaling", "yarn", "--factor", "4"]).output
    assert "18 pairs meet unseen angles" in plain
    assert "pairs meet unseen angles" in scaled
    assert "tune with base" not in scaled
    assert "B_m >= 0" not in scaled
