"""The measured limit on excess losses whose onset is known."""

import numpy as np
import pytest

from ropediag.analysis.limit import THRESHOLD, measure_limit, moving_mean

TRAIN_LEN, LENGTH = 128, 2048


def excess_with_onset(onset, seed=0, sequences=4, height=1.0, noise=0.5):
    """Noise about zero, and around ``height`` from position ``onset`` on; NaN at position 0, as in files."""
    excess = np.random.default_rng(seed).normal(0, noise, (sequences, LENGTH))
    excess[:, onset:] += height
    excess[:, 0] = np.nan
    return excess


@pytest.mark.parametrize("span", [1, 2, 7, 32])
def test_moving_mean_equals_the_mean_of_each_window(span):
    values = np.random.default_rng(1).normal(3, 2, (2, 60))
    values[:, 0] = np.nan
    slow = [[row[start : start + span].mean() for start in range(1, 61 - span)] for row in values]
    np.testing.assert_allclose(moving_mean(values, span), slow, rtol=1e-12)


def test_a_spike_before_the_onset_does_not_count():
    excess = excess_with_onset(600, noise=0.1)
    excess[:, 60:80] += 2.0
    assert abs(measure_limit(excess, TRAIN_LEN).position - 600) <= 32


def test_one_odd_stretch_of_text_far_out_does_not_hide_an_early_onset():
    excess = excess_with_onset(140, sequences=1, height=2.0)
    excess[:, 1500:1560] = 0.0
    assert abs(measure_limit(excess, TRAIN_LEN).position - 140) <= 32


@pytest.mark.parametrize("onset", [150, 300, 1200])
def test_a_planted_onset_is_found_within_the_span(onset):
    measured = measure_limit(excess_with_onset(onset), TRAIN_LEN)
    assert measured.threshold == THRESHOLD
    assert measured.span == 32
    assert abs(measured.position - onset) <= measured.span


def test_without_noise_the_onset_is_where_the_window_s_mean_crosses_the_threshold():
    measured = measure_limit(excess_with_onset(500, noise=0.0), TRAIN_LEN)
    above = 10  # 10 of 32 positions at height 1: the first mean over 0.3
    first_window = 500 + above - 32
    assert measured.position == first_window + 16


def test_an_excess_that_comes_back_down_has_no_limit():
    excess = excess_with_onset(500)
    excess[:, 1500:] -= 1.0
    assert measure_limit(excess, TRAIN_LEN).position is None


def test_a_hump_before_the_final_rise_does_not_count():
    excess = excess_with_onset(1000)
    excess[:, 300:500] += 1.0
    assert abs(measure_limit(excess, TRAIN_LEN).position - 1000) <= 32


def test_a_dip_far_out_hides_nothing_and_a_dip_near_the_onset_does():
    """Far out is past twice the onset, where 19 in 20 must lie above."""
    far = excess_with_onset(300, noise=0.1)
    far[:, 1700:1730] -= 2.0
    assert abs(measure_limit(far, TRAIN_LEN).position - 300) <= 32
    near = excess_with_onset(300, noise=0.1)
    near[:, 450:480] -= 2.0
    assert abs(measure_limit(near, TRAIN_LEN).position - 480) <= 32
    many = excess_with_onset(300, noise=0.1)
    many[:, 1000:1200] -= 2.0
    assert abs(measure_limit(many, TRAIN_LEN).position - 1200) <= 32


def test_an_excess_never_above_the_threshold_has_no_limit_and_no_interval():
    measured = measure_limit(excess_with_onset(LENGTH), TRAIN_LEN)
    assert (measured.position, measured.low, measured.high) == (None, None, None)


def test_an_excess_above_the_threshold_from_the_start_has_its_limit_in_the_first_window():
    measured = measure_limit(excess_with_onset(0, noise=0.1), TRAIN_LEN)
    assert measured.position == 1 + measured.span // 2


def test_the_threshold_decides():
    excess = excess_with_onset(700, height=0.5, noise=0.1)
    assert measure_limit(excess, TRAIN_LEN, threshold=0.4).position is not None
    assert measure_limit(excess, TRAIN_LEN, threshold=0.6).position is None


def test_the_interval_covers_the_truth_and_tightens_with_less_noise():
    """Onsets of the sequences scatter around the truth; their mean crosses near it."""
    truth, covered, widths = 800, 0, {}
    for noise in (0.2, 1.0):
        for seed in range(10):
            excess = excess_with_onset(truth, seed, sequences=8, noise=noise)
            measured = measure_limit(excess, TRAIN_LEN, seed=seed)
            assert measured.low <= measured.position <= measured.high
            slack = measured.span // 2  # the moving mean's own resolution
            covered += measured.low - slack <= truth <= measured.high + slack
            widths.setdefault(noise, []).append(measured.high - measured.low)
    assert covered == 20
    assert np.mean(widths[0.2]) < np.mean(widths[1.0])


def test_the_interval_is_that_of_the_resampled_sequences():
    """With two groups of sequences, low and high are the onsets of the groups."""
    excess = np.concatenate([excess_with_onset(400, sequences=1, noise=0.0, height=9.0)] * 2
                            + [excess_with_onset(1000, sequences=1, noise=0.0, height=9.0)] * 2)  # fmt: skip
    measured = measure_limit(excess, TRAIN_LEN)
    assert abs(measured.low - 400) <= 32
    assert abs(measured.high - 1000) <= 32


def test_one_sequence_has_a_limit_but_no_interval():
    measured = measure_limit(excess_with_onset(300, sequences=1), TRAIN_LEN)
    assert measured.position is not None
    assert (measured.low, measured.high) == (None, None)


def test_there_is_no_interval_where_resamples_stay_below_to_the_end():
    excess = excess_with_onset(300, sequences=4, noise=0.1, height=2.0)
    excess[1:] = excess_with_onset(LENGTH, sequences=3, noise=0.1)
    measured = measure_limit(excess, TRAIN_LEN)
    assert measured.position is not None
    assert (measured.low, measured.high) == (None, None)


def test_the_same_seed_gives_the_same_interval():
    excess = excess_with_onset(300, noise=1.0)
    assert measure_limit(excess, TRAIN_LEN) == measure_limit(excess, TRAIN_LEN)


@pytest.mark.parametrize("length", [2, 3, 10])
def test_sequences_shorter_than_the_span_are_one_window(length):
    excess = np.full((2, length), 1.0)
    excess[:, 0] = np.nan
    measured = measure_limit(excess, TRAIN_LEN)
    assert measured.span == length - 1
    assert 0 < measured.position < length
