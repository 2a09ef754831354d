"""The share of the damage repaired, and its intervals, on losses whose truth is known."""

import math

import numpy as np
import pytest
from scipy import stats

from ropediag.intervene.repair import (
    difference_interval,
    mean_interval,
    measure_repair,
    multiples_up_to,
    ratio_interval,
    share_repaired,
)

TRAIN_LEN, LENGTH = 8, 64


def losses(sequences=6, seed=0):
    """Full, windowed: windows are 2 nats better past the training length, give or take."""
    generator = np.random.default_rng(seed)
    full = generator.normal(5, 0.5, (sequences, LENGTH))
    damage = np.where(np.arange(LENGTH) < TRAIN_LEN, 0, generator.normal(2, 0.3, (sequences, LENGTH)))
    full[:, 0] = np.nan
    return full, full - damage


@pytest.mark.parametrize("share", [-0.5, 0.0, 0.3, 1.0])
def test_a_share_that_was_put_in_comes_out(share):
    full, windowed = losses()
    changed = full - share * (full - windowed)
    found = measure_repair(full, windowed, changed, [full, windowed], TRAIN_LEN, 4.0)
    assert (found.start, found.stop) == (8, 32)
    for estimate in (found.repaired, found.repaired_tail):
        assert [estimate.value, estimate.low, estimate.high] == pytest.approx([share] * 3, abs=1e-9)
    assert found.random == pytest.approx((0.0, 1.0))
    assert found.above_random.value == pytest.approx(share - 0.5)
    assert found.damage.value == pytest.approx((full - windowed)[:, 8:32].mean())
    assert found.nll_changed == pytest.approx(changed[:, 8:32].mean())


def test_only_positions_of_the_stretch_count():
    full, windowed = losses()
    changed = full.copy()
    changed[:, 26:32] = windowed[:, 26:32]
    changed[:, :8] = changed[:, 32:] = -100
    found = measure_repair(full, windowed, changed, [], TRAIN_LEN, 4.0)
    weight = (full - windowed)[:, 26:32].sum() / (full - windowed)[:, 8:32].sum()
    assert found.repaired.value == pytest.approx(weight)
    assert found.repaired_tail.value == pytest.approx(1.0)
    assert found.repaired.value == share_repaired(full, windowed, changed, 8, 32).value
    assert (found.random, found.above_random) == ((), None)


def test_without_damage_there_is_no_share():
    full, _ = losses()
    noise = np.random.default_rng(1).normal(0, 0.1, full.shape)
    found = measure_repair(full, full + noise, full, [full], TRAIN_LEN, 8.0)
    assert (found.repaired, found.repaired_tail, found.random, found.above_random) == (None, None, (), None)
    worse = measure_repair(full, full + 1, full, [], TRAIN_LEN, 8.0)  # windows are worse than the whole
    assert worse.repaired is None


@pytest.mark.parametrize(("sequences", "damaged"), [(2, True), (3, True), (4, False)])
def test_a_few_sequences_cannot_show_that_there_is_damage_and_need_not(sequences, damaged):
    full = np.ones((sequences, LENGTH))
    windowed = full - np.array([1.0, 0.01, 0.01, 0.01])[:sequences, None]
    found = measure_repair(full, windowed, windowed, [], TRAIN_LEN, 8.0)
    assert found.damage.low < 0 < found.damage.value
    assert (found.repaired is not None) == damaged


def test_a_single_sequence_has_no_interval():
    full, windowed = losses(1)
    found = measure_repair(full, windowed, windowed, [full], TRAIN_LEN, 8.0)
    assert found.repaired.value == pytest.approx(1.0)
    assert (found.repaired.low, found.above_random.high) == (-math.inf, math.inf)


def test_the_interval_of_a_mean_is_students():
    values = np.random.default_rng(2).normal(size=9)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert (mean_interval(values).low, mean_interval(values).high) == pytest.approx(tuple(expected))
    ratio = ratio_interval(values, np.full(9, 2.0))
    assert (ratio.low, ratio.high) == pytest.approx(tuple(np.array(expected) / 2))


def test_intervals_of_shares_hold_the_truth_as_often_as_they_say():
    generator, hits = np.random.default_rng(3), 0
    for _ in range(600):
        whole = generator.gamma(20, 0.1, 12)
        part = 0.7 * whole + generator.normal(0, 0.2, 12)
        found = ratio_interval(part, whole)
        hits += found.low <= 0.7 <= found.high
    assert 0.92 < hits / 600 < 0.98


def test_intervals_over_sequences_and_sets_hold_the_truth_at_least_as_often():
    generator, hits = np.random.default_rng(4), 0
    for _ in range(600):
        whole = generator.gamma(20, 0.1, 12)
        effects = generator.normal(0.3, 0.2, (8, 1)) * whole + generator.normal(0, 0.2, 12)
        found = difference_interval(effects, whole)
        hits += found.low <= 0.3 <= found.high
    assert 0.93 < hits / 600 < 0.995


def test_a_single_set_leaves_the_interval_over_sequences():
    whole, part = np.random.default_rng(5).gamma(20, 0.1, (2, 12))
    one, other = difference_interval(part[None], whole), ratio_interval(part, whole)
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    alike = difference_interval(np.stack([whole, whole]), whole)
    assert (alike.value, alike.low, alike.high) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1024, (2, 4, 8)),
        (1023, (2, 4, 1023 / 128)),
        (384, (2, 3)),
        (256, (2,)),
        (192, (1.5,)),
        (129, (129 / 128,)),
    ],
)
def test_multiples_are_doublings_and_the_length_itself(length, expected):
    assert multiples_up_to(128, length) == expected
