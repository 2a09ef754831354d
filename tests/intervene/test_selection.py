"""Pairs by word, by list and at random, over models whose layers differ."""

import numpy as np
import pytest

from ropediag.errors import ConfigError
from ropediag.intervene import Intervention
from ropediag.intervene.pair_set import PairSet
from ropediag.intervene.reaches import limit_chosen
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
        drawn = draw_random(PairSet(chosen), ROTATION, np.random.default_rng(seed)).pairs
        assert drawn == {(0, 0): (2, 3), (0, 1): (2, 3), (2, 0): (1,)}
        many = draw_random(PairSet({(0, 0): (0, 1, 2)}), ROTATION, np.random.default_rng(seed)).pairs[0, 0]
        assert len(many) == 3
        seen.add(many)
    assert seen == {(0, 1, 3), (0, 2, 3), (1, 2, 3)}


def test_where_all_pairs_are_chosen_there_is_no_random_set():
    with pytest.raises(ConfigError, match="all pairs are chosen"):
        draw_random(PairSet({(2, 0): (0, 1)}), ROTATION, np.random.default_rng(0))
    mixed = draw_random(PairSet({(2, 0): (0, 1), (0, 0): (3,)}), ROTATION, np.random.default_rng(0)).pairs
    assert mixed[2, 0] == (0, 1)
    assert mixed[0, 0] != (3,)


REACHES = np.array([[np.inf, 20, 30, 40], [np.inf, np.inf, NAN, NAN], [NAN] * 4])


def test_each_pair_is_limited_by_its_own_reach_and_those_without_one_are_left_out():
    chosen = {(0, 0): (0, 1, 3), (0, 1): (2,), (2, 0): (0, 1)}
    found = limit_chosen(chosen, ROTATION, REACHES)
    assert found.reach == {(0, 0): {1: 20, 3: 40}, (0, 1): {2: 30}}
    assert found.pairs == {(0, 0): (1, 3), (0, 1): (2,)}
    assert found.limits(0.5) == {(0, 0): {1: 10, 3: 20}, (0, 1): {2: 15}}
    assert found.keep({3}).limits(2.0) == {(0, 0): {3: 80}, (0, 1): {}}


def test_pairs_before_the_critical_one_are_limited_by_the_smallest_reach_of_their_layer_or_of_the_model():
    found = limit_chosen({(0, 1): (0,), (2, 0): (0, 1)}, ROTATION, REACHES)
    assert found.reach == {(0, 1): {0: 20}, (2, 0): {0: 20, 1: 20}}
    with pytest.raises(ConfigError, match="none has a trained reach"):
        limit_chosen({(2, 0): (0,)}, ROTATION, np.where(np.isfinite(REACHES), np.inf, REACHES))


def test_a_random_pair_takes_the_reach_of_the_one_in_whose_place_it_is():
    chosen = limit_chosen({(0, 0): (1, 2, 3), (0, 1): (3,)}, ROTATION, REACHES)
    lent = set()
    for seed in range(40):
        drawn = draw_random(chosen, ROTATION, np.random.default_rng(seed))
        assert {place: tuple(own) for place, own in drawn.reach.items()} == drawn.pairs
        assert sorted(drawn.reach[0, 0].values()) == [20, 30, 40]
        assert list(drawn.reach[0, 1].values()) == [40]
        lent.add(tuple(drawn.reach[0, 0].items()))
    assert len(lent) > 6  # not always in the same order


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
