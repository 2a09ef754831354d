"""Pairs by word, by list and at random, over models whose layers differ."""

import numpy as np
import pytest

from ropediag.errors import ConfigError
from ropediag.intervene import Intervention
from ropediag.intervene.selection import choose_pairs, draw_random, find_targets
from ropediag.models.rotation import Rotation
from ropediag.rope import RopeSpec

NAN = np.nan
SPEC = RopeSpec(
    inv_freq=np.array([[1, 0.1, 0.01, 0.001], [1, 0.1, NAN, NAN], [NAN] * 4]),
    channels=np.array([[[0, 4], [1, 5], [2, 6], [3, 7]], [[0, 2], [1, 3], [-1, -1], [-1, -1]],
                       [[-1, -1]] * 4]),
    attention_factor=np.ones(3),
    head_dim=np.array([8, 8, 8]),
    layout="half",
)  # fmt: skip
ROTATION = Rotation(SPEC, np.array([0, 2, 3]), (2, 1, 2), (1, 1, 1), np.zeros((3, 4, 1)), np.zeros(3))
CRITICAL = np.array([1, 2, -1])


@pytest.mark.parametrize(("what", "expected"), [
    ("all", {(0, 0): (0, 1, 2, 3), (0, 1): (0, 1, 2, 3), (2, 0): (0, 1)}),
    ("past", {(0, 0): (1, 2, 3), (0, 1): (1, 2, 3)}),
    ("before", {(0, 0): (0,), (0, 1): (0,), (2, 0): (0, 1)}),
    ((1, 3), {(0, 0): (1, 3), (0, 1): (1, 3), (2, 0): (1,)}),
])  # fmt: skip
def test_words_and_lists_name_the_pairs_of_each_layer(what, expected):
    assert choose_pairs(what, ROTATION, CRITICAL) == expected
    one = choose_pairs(what, ROTATION, CRITICAL, layers=(0,), heads=(1,))
    assert one == {(0, 1): expected[0, 1]}


@pytest.mark.parametrize(("what", "layers", "heads", "said"), [
    ((4,), None, None, "no pair 4: its pairs are 0 to 3"),
    ("all", (1,), None, r"no layer 1: its layers are \[0, 2, 3\]"), ("all", None, (2,), "no head 2"),
    ("all", (3,), None, "no pair to work on"), ("past", (2,), None, "no pair to work on"),
])  # fmt: skip
def test_what_is_not_there_is_refused(what, layers, heads, said):
    with pytest.raises(ConfigError, match=said):
        choose_pairs(what, ROTATION, CRITICAL, layers, heads)


def test_random_sets_are_other_pairs_where_there_are_enough():
    chosen, seen = {(0, 0): (0, 1), (0, 1): (0, 1), (2, 0): (0,)}, set()
    for seed in range(20):
        drawn = draw_random(chosen, ROTATION, np.random.default_rng(seed))
        assert drawn == {(0, 0): (2, 3), (0, 1): (2, 3), (2, 0): (1,)}
        many = draw_random({(0, 0): (0, 1, 2)}, ROTATION, np.random.default_rng(seed))[0, 0]
        assert len(many) == 3
        seen.add(many)
    assert seen == {(0, 1, 3), (0, 2, 3), (1, 2, 3)}


def test_where_all_pairs_are_chosen_there_is_no_random_set():
    with pytest.raises(ConfigError, match="all pairs are chosen"):
        draw_random({(2, 0): (0, 1)}, ROTATION, np.random.default_rng(0))
    mixed = draw_random({(2, 0): (0, 1), (0, 0): (3,)}, ROTATION, np.random.default_rng(0))
    assert mixed[2, 0] == (0, 1)
    assert mixed[0, 0] != (3,)


def test_targets_carry_the_geometry_of_their_layer():
    targets = find_targets(Intervention("zero", {(2, 0): (1,), (0, 1): (0, 3), (0, 0): ()}), ROTATION)
    assert {layer: dict(target.pairs) for layer, target in targets.items()} == {0: {1: (0, 3)}, 2: {0: (1,)}}
    np.testing.assert_array_equal(targets[2].inv_freq, [1, 0.1])
    np.testing.assert_array_equal(targets[2].channels, [[0, 2], [1, 3]])
    whole = find_targets(Intervention("log", train_len=8, heads=(1,)), ROTATION)
    assert {layer: dict(target.pairs) for layer, target in whole.items()} == {0: {1: ()}, 3: {1: ()}}


def test_heads_are_grouped_by_their_pairs():
    target = find_targets(Intervention("zero", {(0, 0): (1,), (0, 1): (1,)}), ROTATION)[0]
    assert target.heads_by_pairs() == {(1,): [0, 1]}
