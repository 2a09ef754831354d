"""Trained reach, unseen lags and the two limits: loops over single lags, and figures worked out elsewhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ropediag import limits
from ropediag.errors import ConfigError
from ropediag.rope import inv_freq
from ropediag.scaling import ntk_base, yarn_inv_freq
from ropediag.theory.training import ALL_LAGS, Phase, Training, find_base, plain_training, unseen_intervals

SIZE = 64  # rotary dimensions of the bundled model


def phase(rotation, length, window=ALL_LAGS, base=np.nan, label="a phase"):
    rotation = np.atleast_2d(rotation)
    layers = len(rotation)
    return Phase(rotation, np.full(layers, base), length, np.full(layers, window), label, "a test")


def train(phases, now, window=ALL_LAGS, base=np.nan):
    now = np.atleast_2d(now)
    return Training(tuple(phases), now, np.full(len(now), base), np.full(len(now), window))


def yarn(factor):
    pretraining = phase(inv_freq(SIZE, 1e4), 128, base=1e4)
    return train([pretraining], yarn_inv_freq(SIZE, 1e4, factor, 128))


@st.composite
def trainings(draw):
    """Some phases of random rotations, lengths and windows; frequencies from fast to slow, some 0."""
    pairs = draw(st.integers(1, 6))
    rotation = st.lists(st.floats(1e-4, 3.0), min_size=pairs, max_size=pairs)
    phases = [
        phase(draw(rotation), draw(st.integers(2, 90)), draw(st.sampled_from([ALL_LAGS, 7, 40])))
        for _ in range(draw(st.integers(1, 3)))
    ]
    now = draw(st.one_of(rotation, st.just(phases[-1].inv_freq[0].tolist())))
    return train(phases, [0.0 if draw(st.integers(0, 9)) == 0 else value for value in now])


def loop_angle(training, pair):
    """The angle that the phases reached: each lag from 0 to the first that does not occur, once."""
    angle = 0.0
    for one in training.phases:
        stop = one.length if one.window[0] == ALL_LAGS else min(one.length, int(one.window[0]))
        for lag in range(stop + 1):
            angle = max(angle, lag * one.inv_freq[0, pair])
    return angle


@given(trainings())
def test_unseen_lags_are_those_whose_angle_no_phase_reached(training):
    lags = np.arange(300)
    found = training.is_unseen(lags)[0]
    for pair, frequency in enumerate(training.inv_freq[0]):
        angle = loop_angle(training, pair)
        for lag in lags:
            turned = (lag * frequency) % (2 * np.pi)
            if abs(turned - angle) > 1e-4 and turned > 1e-4 and turned < 2 * np.pi - 1e-4:  # off the edges
                assert found[pair, lag] == (angle < 2 * np.pi and turned > angle)


@given(trainings(), st.sampled_from([1, 3, 10, 64]))
def test_a_bin_is_seen_or_unseen_as_all_its_lags_are(training, width):
    start = np.arange(0, 300, width)
    seen, unseen = training.split_bins(start, start + width)
    for index, first in enumerate(start):
        lags = training.is_unseen(np.arange(first, first + width))[0]
        assert (seen[0, :, index] <= ~lags.any(-1)).all()
        assert (unseen[0, :, index] <= lags.all(-1)).all()
        if width == 1:
            assert (seen[0, :, index] ^ unseen[0, :, index]).all()


@given(trainings())
def test_intervals_hold_the_unseen_lags_and_no_others(training):
    lags = np.arange(300)
    unseen = training.is_unseen(lags)[0]
    for pair in range(training.inv_freq.shape[1]):
        intervals = training.unseen_intervals(0, pair, 300)
        inside = [any(start <= lag < stop for start, stop in intervals) for lag in lags]
        period = training.period[0, pair]
        turns = lags / period
        near = np.abs(turns - np.rint(turns)) < 1e-6  # rounding at whole turns
        assert (np.array(inside) == unseen[pair])[~near].all()


def test_an_untuned_model_reaches_its_training_length_in_every_pair_short_of_a_turn():
    training = plain_training(SIZE, 1e4, 1e4, 128)
    reach = training.reach()[0]
    critical = limits.critical_pair(inv_freq(SIZE, 1e4), 128)
    assert training.critical_pair().tolist() == [critical] == [11]
    assert reach.tolist() == [np.inf] * critical + [128] * (SIZE // 2 - critical)
    assert (training.first_reach(), training.predicted_limit().value) == (128, 128)


def test_a_larger_base_reaches_further_in_slower_pairs():
    training = plain_training(SIZE, 160_000.0, 1e4, 128, 128)
    slow = np.arange(11, 32)
    assert training.reach()[0, 11:] == pytest.approx(128 * 16 ** (2 * slow / SIZE))
    assert training.first_reach() == pytest.approx(332, abs=0.5)
    found = training.predicted_limit()
    assert found.value == pytest.approx(386, abs=0.5)
    assert not found.assumes_tuning
    assert "16b" in found.law


def test_figures_of_a_released_model():
    """SmolLM2-135M: 2,048 tokens at base 10,000, then 8,192 at 100,000."""
    training = plain_training(64, 100_000.0, 1e4, 2048, 8192)
    assert training.first_reach() == pytest.approx(9281, abs=1)
    assert training.predicted_limit().value == pytest.approx(12_007, abs=10)
    assert training.reach()[0, 21:26] == pytest.approx([9281, 9973, 10_717, 11_517, 12_376], abs=1)


def test_scaling_rules_take_the_smallest_reach_and_say_what_they_assume():
    training = yarn(4.0)
    found = training.predicted_limit()
    assert (found.value, found.assumes_tuning) == (512, True)
    assert training.first_reach() == 512
    rotation = yarn_inv_freq(SIZE, 1e4, 4.0, 128)
    tuned = train([*training.phases, phase(rotation, 2000)], rotation)
    assert (tuned.predicted_limit().value, tuned.predicted_limit().assumes_tuning) == (2000, False)


def test_ntk_scaling_is_a_change_of_base():
    larger = ntk_base(SIZE, 1e4, 4.0)
    pretraining = phase(inv_freq(SIZE, 1e4), 128, base=1e4)
    scaled = train([pretraining], inv_freq(SIZE, larger), base=1e4)  # the config still states the old one
    expected = limits.extrapolation_limit(SIZE, larger, 1e4, 128)
    assert scaled.predicted_limit().value == pytest.approx(expected)
    assert scaled.predicted_limit().assumes_tuning


def test_below_the_base_of_pretraining_the_law_sets_no_limit():
    training = plain_training(SIZE, 500.0, 1e4, 128, 128)
    found = training.predicted_limit()
    assert found.value is None
    assert "below" in found.law
    assert training.critical_pair().tolist() == [16]
    assert training.first_reach() == 128


@pytest.mark.parametrize("base", [1e4, 2e4, 71_739.0, 1e6, 5e7])
@pytest.mark.parametrize("tune_len", [None, 4096, 16_384])
@pytest.mark.parametrize("turns", [1.0, 0.8])
def test_plain_rope_takes_the_extended_law(base, tune_len, turns):
    found = plain_training(128, base, 1e4, 4096, tune_len).predicted_limit(turns)
    assert found.value == limits.extrapolation_limit(128, base, 1e4, 4096, tune_len, turns)


def test_a_window_bounds_what_is_met():
    rotation = np.stack([inv_freq(16, 1e4), inv_freq(16, 1e4)])
    pretraining = Phase(rotation, np.full(2, 1e4), 64, np.array([16, ALL_LAGS]), "pretraining", "a test")
    local = Training((pretraining,), rotation, np.full(2, 1e4), np.array([16, ALL_LAGS]))
    assert local.first_reach() == 64
    assert local.predicted_limit().value == 64
    narrow = train([phase(inv_freq(16, 1e4), 64, 16, 1e4)], inv_freq(16, 1e4), window=16, base=1e4)
    assert narrow.first_reach() is None
    assert narrow.predicted_limit().value is None
    wider = train([phase(inv_freq(16, 1e4), 64, 16, 1e4)], inv_freq(16, 1e4), window=32, base=1e4)
    assert wider.first_reach() == 16


def test_layers_of_different_bases_and_of_none():
    local, widest, none = inv_freq(16, 1e4), inv_freq(16, 1e6), np.full(8, np.nan)
    rotation, window = np.stack([local, widest, none]), np.array([16, ALL_LAGS, ALL_LAGS])
    base = np.array([1e4, 1e6, np.nan])
    training = Training((Phase(rotation, base, 64, window, "pretraining", "a test"),), rotation, base, window)
    assert training.critical_pair().tolist() == [1, 2, -1]
    assert np.isnan(training.reach()[2]).all()
    assert training.predicted_limit().value == 64
    seen, unseen = training.split_bins(np.arange(100), np.arange(1, 101))
    assert not (seen[2] | unseen[2]).any()


def test_long_and_short_factors_are_two_phases():
    plain = inv_freq(8, 1e4)
    short, long = plain / [1, 1, 1.1, 1.2], plain / [1, 2, 4, 8]
    training = train([phase(short, 64), phase(long, 512)], long)
    assert training.reach()[0].tolist() == [np.inf, np.inf, 512, 512]
    assert training.predicted_limit().value == 512


def test_a_pair_that_only_now_turns_has_seen_no_lag_but_0():
    training = train([phase([1.0, 0.0], 64)], [1.0, 0.01])
    assert training.reach()[0].tolist() == [np.inf, np.finfo(float).tiny]
    assert training.is_unseen(np.array([0, 1]))[0, 1].tolist() == [False, True]


@given(st.integers(2, 64), st.floats(10, 1e7))
def test_the_base_is_read_off_the_frequencies(pairs, base):
    rotation = inv_freq(2 * pairs, base)
    assert find_base(rotation) == pytest.approx(base, rel=1e-9)
    assert find_base(rotation.astype(np.float32).astype(float), base) == base
    assert find_base(np.append(rotation, np.nan), base) == base
    bent = rotation.copy()
    bent[-1] /= 2
    assert find_base(bent, base) is None or pairs == 2  # two frequencies are those of some base


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: train([], [1.0]), "empty"),
        (lambda: train([phase([1.0, 0.5], 64)], [1.0]), "one frequency for each pair"),
        (lambda: phase([1.0], 1), "at least 2 tokens"),
        (lambda: phase([1.0], 64, base=1.0), "above 1"),
        (lambda: phase([np.inf], 64), "finite"),
        (lambda: phase([-1.0], 64), "at least 0"),
        (lambda: phase([1.0], 64, window=0), "window must be at least 1"),
    ],
)
def test_phases_that_cannot_be_are_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_a_model_of_which_no_layer_rotates_has_no_limit():
    training = train([phase([np.nan, np.nan], 64)], [np.nan, np.nan])
    assert training.predicted_limit().value is None
    assert training.first_reach() is None
    assert training.critical_pair().tolist() == [-1]


@pytest.mark.parametrize("length", [129, 332, 333, 334, 600])
def test_a_pair_meets_unseen_angles_where_some_lag_turns_it_to_one(length):
    training = plain_training(64, 160_000.0, pretrain_base=10_000.0, train_len=128, tune_len=128)
    slow = training.is_unseen(np.arange(length)).any(-1)
    np.testing.assert_array_equal(training.meets_unseen(length), slow)


def test_stretches_without_end_are_refused():
    with pytest.raises(ConfigError, match="1,000,000,000,000 tokens hold over 20,000 turns"):
        unseen_intervals(4.0, 7.0, 10**12)
