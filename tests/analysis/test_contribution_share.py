"""Shares of pairs against the contributions themselves, written out one by one."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.contribution_share import measure_contribution_share, share_mean, share_variance
from ropediag.errors import ConfigError
from tests.analysis.captures import EXAMPLE
from tests.analysis.ragged import write_ragged


def draw(seed=0, heads=2, pairs=3, lags=4, replicates=5):
    """Contributions (replicate, query_head, pair) by lag bin: lists of unequal length."""
    random = np.random.default_rng(seed)
    count = random.integers(0, 6, (replicates, lags))
    return count, [
        [random.normal(1, 2, (heads, pairs, count[r, lag])) for lag in range(lags)] for r in range(replicates)
    ]


def test_shares_of_the_variance_are_those_of_the_contributions_written_out():
    count, drawn = draw()
    by_lag = [np.concatenate([part[lag] for part in drawn], axis=-1) for lag in range(4)]
    mean = np.stack([values.mean(-1) for values in by_lag], axis=-1)
    std = np.stack([values.std(-1) for values in by_lag], axis=-1)
    variance = np.concatenate(by_lag, axis=-1).var(-1)
    expected = variance / variance.sum(-1, keepdims=True)
    np.testing.assert_allclose(share_variance(count.sum(0), mean, std), expected, rtol=1e-12)


def share_slowly(drawn, left_out=None):
    """Mean over bins, weighed by members, of |mean of the bin|; as a share of all pairs."""
    kept = [part for place, part in enumerate(drawn) if place != left_out]
    total = np.zeros(kept[0][0].shape[:2])
    for lag in range(len(kept[0])):
        values = np.concatenate([part[lag] for part in kept], axis=-1)
        if values.shape[-1]:
            total += values.shape[-1] * abs(values.mean(-1))
    return total / total.sum(-1, keepdims=True)


def test_shares_of_the_mean_and_their_jackknife_are_those_written_out():
    count, drawn = draw(1)
    with np.errstate(invalid="ignore"):
        mean = np.stack([np.stack([v.sum(-1) / v.shape[-1] if v.shape[-1] else v.sum(-1) * np.nan
                                   for v in part], axis=-1) for part in drawn])  # fmt: skip
    share, error = share_mean(mean, count)
    np.testing.assert_allclose(share, share_slowly(drawn), rtol=1e-12)
    without = np.stack([share_slowly(drawn, left_out) for left_out in range(5)])
    np.testing.assert_allclose(error, np.sqrt(4 / 5 * ((without - without.mean(0)) ** 2).sum(0)), rtol=1e-12)


def test_shares_sum_to_one_and_windows_are_told_apart():
    with open_capture(EXAMPLE) as capture:
        found = measure_contribution_share(capture).load()
        mean, count = capture["scores/mean"].load(), capture["scores/count"].load()
        std = capture["scores/std"].load()
    for name in ("variance_share_inside", "variance_share_beyond", "mean_share_inside", "mean_share_beyond"):
        np.testing.assert_allclose(found[name].sum("pair"), 1, rtol=1e-9)
    beyond = slice(128, None)
    weights = count.sel(layer=2, lag=beyond)
    at = {"layer": 2, "query_head": 0, "pair": 14}
    means, stds = mean.sel(lag=beyond), std.sel(lag=beyond)
    square = ((means**2 + stds**2).sel(layer=2, query_head=0) * weights).sum("lag") / weights.sum()
    variance = square - ((means.sel(layer=2, query_head=0) * weights).sum("lag") / weights.sum()) ** 2
    np.testing.assert_allclose(
        found.variance_share_beyond.sel(at), float(variance[14] / variance.sum()), rtol=1e-4
    )


def test_a_capture_within_the_training_length_has_nothing_beyond(tmp_path):
    with open_capture(write_ragged(tmp_path / "short.h5", train_len=40)) as capture:
        found = measure_contribution_share(capture).load()
    assert found.variance_share_beyond.isnull().all()
    assert found.mean_share_beyond_se.isnull().all()
    assert found.variance_share_inside.notnull().any()


def test_an_unknown_training_length_is_asked_for(tmp_path):
    with (
        open_capture(write_ragged(tmp_path / "unknown.h5", train_len=0)) as capture,
        pytest.raises(ConfigError, match="set-training"),
    ):
        measure_contribution_share(capture)
