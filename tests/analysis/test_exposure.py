"""Exposure of angles against loops over query-key pairs."""

import math

import numpy as np
import pytest

from ropediag.analysis.exposure import BINS, measure_exposure, share_angles
from ropediag.rope import inv_freq
from tests.trained import one_layer


def test_shares_equal_a_loop_over_query_key_pairs():
    frequencies, length = np.array([1.0, 0.17, 0.002, 0.0]), 60
    slow = np.zeros((4, BINS))
    for pair, frequency in enumerate(frequencies):
        for query in range(length):
            for key in range(query + 1):
                turn = (query - key) * frequency / (2 * math.pi)
                slow[pair, int((turn - math.floor(turn)) * BINS)] += 1
    np.testing.assert_allclose(share_angles(frequencies, length), slow / (length * (length + 1) / 2))


def test_blocks_of_lags_are_weighed_by_their_distance():
    """Lags past the first block: half a turn at the lag 2^16, so half of all bins are met before it."""
    length = 2**17
    share = share_angles(np.array([math.pi / 2**16]), length)[0]
    pairs = length * (length + 1) / 2
    assert share[: BINS // 2].sum() == pytest.approx((pairs - 2**16 * (2**16 + 1) / 2) / pairs, abs=1e-4)
    assert share.sum() == pytest.approx(1)


def test_a_pair_without_a_full_turn_has_angles_never_shown_and_one_turn_is_not_even():
    plain = inv_freq(128, 10_000.0)
    found = measure_exposure(one_layer(plain, (plain, 4096)), 16_384).sel(layer=0)
    assert float(found.least[:20].min()) > 0.8
    assert 0 < float(found.least.sel(pair=45)) < 0.1  # 1.004 turns: its last angles come once
    assert float(abs(found.least[47:]).max()) == 0  # pair 46 makes 0.87 of a turn, 13.9 bins
    assert float(found.thin_share[:20].max()) == 0
    assert float(found.thin_share.sel(pair=48)) > 0.3
    np.testing.assert_allclose(found.exposure.sum("angle"), BINS)


def test_a_pair_that_never_turns_has_seen_all_it_will_see():
    turning = np.array([1.0, 0.0])
    found = measure_exposure(one_layer(turning, (turning, 64)), 1000).sel(layer=0, pair=1)
    assert float(found.exposure[0]) == pytest.approx(BINS)
    assert float(found.thin_share) == 0


def test_of_several_phases_the_one_that_showed_an_angle_most_counts():
    one, other = np.array([0.01]), np.array([0.3])
    found = measure_exposure(one_layer(one, (one, 100), (other, 40)), 1000).sel(layer=0, pair=0)
    alone = [BINS * share_angles(rotation, length)[0] for rotation, length in ((one, 100), (other, 40))]
    np.testing.assert_allclose(found.exposure, np.maximum(*alone))


def test_lags_from_the_window_on_are_not_counted():
    frequencies, length, window = np.array([0.3, 0.02]), 60, 11
    slow = np.zeros((2, BINS))
    for pair, frequency in enumerate(frequencies):
        for query in range(length):
            for key in range(max(0, query - window + 1), query + 1):
                slow[pair, int(((query - key) * frequency / (2 * math.pi) % 1) * BINS)] += 1
    np.testing.assert_allclose(share_angles(frequencies, length, window), slow / slow.sum(1, keepdims=True))
