"""The exact lag moments against the obvious sum over all query-key pairs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ropediag.capture.moments import correlate, count_by_lag, sum_by_lag, sum_rest_by_lag
from ropediag.rope import pair_channels
from ropediag.schema import REPLICATES, lag_edges


def brute_force(query, key, channels, edges, lags):
    """Mean, std and extremes of the single-lag means in each bin, from all contributions written out."""
    length = query.shape[1]
    contributions = np.einsum("htpc,spc->hpts", query[..., channels], key[:, channels])
    per_lag = [np.diagonal(contributions, -lag, axis1=2, axis2=3) for lag in range(lags)]
    means = np.stack([values.mean(-1) for values in per_lag], -1)
    statistics = []
    for start, stop in zip(edges, [*edges[1:], length], strict=True):
        values = per_lag[start : min(stop, lags)]
        if values:
            joined = np.concatenate(values, -1)
            inside = means[..., start : min(stop, lags)]
            statistics.append((joined.mean(-1), joined.std(-1), inside.min(-1), inside.max(-1)))
    return [np.stack(column, -1) for column in zip(*statistics, strict=True)]


def summarize(query, key, channels, edges, lags):
    """The same four from the fast sums."""
    length = query.shape[1]
    sums = sum_by_lag(torch.tensor(query), torch.tensor(key)[None], channels, edges, lags)
    counts = count_by_lag(length)[:, :lags]
    stops = [*edges[1:], length]
    count = np.array([counts[:, a : min(b, lags)].sum() for a, b in zip(edges, stops, strict=True)])
    filled = count > 0
    mean = sums.total.sum(1)[..., filled] / count[filled]
    std = np.sqrt(np.maximum(0, sums.square[..., filled] / count[filled] - mean**2))
    return (
        mean,
        np.where(count[filled] == 1, 0, std),
        sums.lag_mean_min[..., filled],
        sums.lag_mean_max[..., filled],
    )


def assert_exact(query, key, channels, lags):
    """Within 1e-6 of the std plus 1e-9 of the root mean square, the bound the project promises."""
    edges = lag_edges(query.shape[1])
    expected = brute_force(query, key, channels, edges, lags)
    tolerance = 1e-6 * expected[1] + 1e-9 * np.sqrt(expected[0] ** 2 + expected[1] ** 2)
    for name, fast, slow in zip(
        ("mean", "std", "min", "max"), summarize(query, key, channels, edges, lags), expected, strict=True
    ):
        assert np.all(np.abs(fast - slow) <= tolerance), name


@pytest.mark.parametrize("layout", ["half", "interleaved"])
@pytest.mark.parametrize(
    ("heads", "length", "lags"), [(8, 300, 300), (1, 513, 100), (2, 1031, 1031), (1, 64, 64)]
)
def test_moments_are_exact_for_grouped_heads_partial_rotary_and_any_length(layout, heads, length, lags):
    random = np.random.default_rng(length)
    query, key = random.standard_normal((heads, length, 12)), random.standard_normal((length, 12))
    assert_exact(query, key, pair_channels(layout, 8, head_dim=12, offset=2), lags)


@pytest.mark.parametrize("length", [700, 1500])
def test_moments_are_exact_when_the_mean_is_a_hundred_times_the_std(length):
    random = np.random.default_rng(length)
    query, key = random.standard_normal((1, length, 4)), random.standard_normal((length, 4))
    query[..., 0] += 140
    key[..., 0] += 140  # c = (140 + x)(140 + y): mean 19,600, std about 198
    channels = pair_channels("half", 4)
    statistics = brute_force(query, key, channels, [0], length)
    assert abs(statistics[0][0, 0, 0]) > 95 * statistics[1][0, 0, 0]
    assert_exact(query, key, channels, length)


@settings(max_examples=25)
@given(length=st.integers(1, 200), seed=st.integers(0, 2**16), share=st.floats(0.01, 1))
def test_moments_are_exact_for_short_sequences_and_windows(length, seed, share):
    random = np.random.default_rng(seed)
    query, key = random.standard_normal((2, length, 4)), random.standard_normal((length, 4))
    assert_exact(query, key, pair_channels("half", 4), max(1, int(share * length)))


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 100, 1000])
def test_groups_share_out_every_query_key_pair_once(length):
    counts = count_by_lag(length)
    np.testing.assert_array_equal(counts.sum(0), length - np.arange(length))


def correlate_all(query, key, lags, blocks, groups):
    """All blocks of lags as one (group, lag) array of the first head and row; missing groups are zero."""
    sums = torch.zeros(groups, lags, dtype=torch.float64)
    for first, values in correlate(query, key, lags, blocks, groups):
        sums[: len(values), first : first + values.shape[-1]] = values[:, 0, 0]
    return sums


def test_each_group_holds_the_queries_it_counts():
    """With all products one, the sums are the counts; with products t, each group is a stretch of queries."""
    length = 640
    ones = torch.ones(1, 1, 1, length, dtype=torch.float64)
    sums = correlate_all(ones, ones[0], length, 16, REPLICATES)
    np.testing.assert_allclose(sums, count_by_lag(length), atol=1e-9)
    positions = torch.arange(length, dtype=torch.float64)[None, None, None]
    firsts = correlate_all(positions, ones[0], length, 16, REPLICATES) / sums
    for lag in (0, 100, 319):
        assert torch.all(firsts[:, lag].diff() > 0), "groups are consecutive stretches of queries"


def test_half_of_the_lags_have_all_eight_replicates():
    counts = count_by_lag(8192)
    assert np.all(counts[:, :4097] > 0)


def test_rest_channels_are_summed_by_lag():
    random = np.random.default_rng(0)
    query, key = random.standard_normal((3, 333, 9)), random.standard_normal((333, 9))
    channels, edges = np.array([1, 4, 8]), lag_edges(333)
    fast = sum_rest_by_lag(torch.tensor(query), torch.tensor(key)[None], channels, edges, 333)
    logits = np.einsum("htc,sc->hts", query[..., channels], key[:, channels])
    by_lag = np.stack([np.trace(logits, -lag, axis1=1, axis2=2) for lag in range(333)], -1)
    slow = np.add.reduceat(by_lag, edges, axis=-1)
    np.testing.assert_allclose(fast, slow, rtol=1e-10, atol=1e-9)
