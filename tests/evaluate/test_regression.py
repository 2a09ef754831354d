"""Regression against the parent: paired by block of text, with the interval of a mean of differences."""

import math
import statistics

import numpy as np
import pytest

from ropediag.evaluate.regression import compare_losses

RANDOM = np.random.default_rng(0)


def losses(shift=0.0, sequences=3, length=100):
    """A text of its own difficulty, and two models that differ by ``shift`` and a little noise."""
    hard = RANDOM.gamma(2.0, size=(sequences, length))
    own, parent = (hard + RANDOM.normal(0, 0.05, hard.shape) for _ in range(2))
    own, parent = (own + shift).astype("f4"), parent.astype("f4")
    own[:, 0] = parent[:, 0] = np.nan
    return own, parent


def test_the_interval_is_that_of_the_block_means():
    own, parent = losses(shift=0.02)
    found = compare_losses("elder", own, parent, block=30)
    blocks = []
    for row in range(3):
        for start in (0, 30, 60):
            inside = range(max(1, start), start + 30)
            blocks.append(statistics.fmean(float(own[row, t]) - float(parent[row, t]) for t in inside))
    mean, error = statistics.fmean(blocks), 1.959964 * statistics.stdev(blocks) / math.sqrt(len(blocks))
    found_interval = (found.difference.value, found.difference.low, found.difference.high)
    assert found_interval == pytest.approx((mean, mean - error, mean + error), abs=1e-7)
    assert found.difference.count == 9
    assert found.parent == "elder"


def test_pairing_sees_a_loss_far_smaller_than_the_spread_of_the_text():
    own, parent = losses(shift=0.02, sequences=8)
    found = compare_losses("elder", own, parent, block=20)
    assert found.regressed
    assert not compare_losses("elder", parent, own, block=20).regressed
    assert found.loss - found.parent_loss == pytest.approx(0.02, abs=0.01)


def test_a_single_block_bounds_nothing():
    own, parent = losses(sequences=1, length=20)
    found = compare_losses("elder", own, parent, block=64)
    assert found.difference.count == 1
    assert (found.difference.low, found.difference.high) == (-math.inf, math.inf)
    assert not found.regressed
