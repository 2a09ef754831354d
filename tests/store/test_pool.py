"""Pooling against plain loops over single contributions."""

import math

import numpy as np
import pytest

from ropediag.errors import CaptureError
from ropediag.schema import lag_edges
from ropediag.store.pool import LayerPool, replicate_count
from tests.store.synthetic import GROUPS, make_contributions

SIZES = {"query_head": 2, "group": GROUPS, "pair": 2, "lag": 16}
LAG = np.array(lag_edges(16))
COARSE = np.array(lag_edges(16, per_doubling=2))


def make_sequences(sequences, offset):
    random = np.random.default_rng(7)
    return [make_contributions(random, SIZES, offset) for _ in range(sequences)]


def pool(sequences, planned=None):
    layer = LayerPool(planned or len(sequences))
    for place, (values, count) in enumerate(sequences):
        layer.add(place, sums_of(values, count))
    return layer.results(LAG, COARSE)


def sums_of(values, count):
    return {
        "scores/sum": values.sum(axis=-1),
        "scores/sum_square": (values**2).sum(axis=(1, -1)),
        "scores/pair_count": count,
        "scores/rest_sum": values.sum(axis=(1, 2, 4)),
    }


def samples_by_replicate(sequences, head, pair, bins):
    """The twin: every contribution in a list, one list per replicate."""
    replicates = []
    for values, count in sequences:
        groups = []
        for group in range(GROUPS):
            samples = []
            for lag in bins:
                samples += values[head, group, pair, lag, : count[group, lag]].tolist()
            groups.append(samples)
        replicates += groups if len(sequences) < 8 else [[x for samples in groups for x in samples]]
    return replicates


def slow_standard_error(replicates):
    replicates = [samples for samples in replicates if samples]
    if len(replicates) < 2:
        return math.nan
    everything = [x for samples in replicates for x in samples]
    mean = math.fsum(everything) / len(everything)
    total = 0.0
    for samples in replicates:
        weight = len(samples) / len(everything)
        total += weight**2 * (math.fsum(samples) / len(samples) - mean) ** 2
    return math.sqrt(len(replicates) / (len(replicates) - 1) * total)


@pytest.mark.parametrize("sequences", [1, 2, 7, 8, 11])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_pooled_statistics_match_loops_over_single_contributions(sequences, offset):
    data = make_sequences(sequences, offset)
    pooled = pool(data)
    for head in range(2):
        for pair in range(2):
            for lag in range(16):
                replicates = samples_by_replicate(data, head, pair, [lag])
                samples = [x for part in replicates for x in part]
                assert pooled["scores/count"][lag] == len(samples)
                expected = [np.mean(samples), np.std(samples)] if samples else [np.nan, np.nan]
                found = [pooled[f"scores/{name}"][head, pair, lag] for name in ("mean", "std", "mean_se")]
                np.testing.assert_allclose(
                    found, [*expected, slow_standard_error(replicates)], rtol=1e-8, atol=1e-12
                )


@pytest.mark.parametrize("sequences", [1, 3, 8])
def test_replicate_means_gather_the_fine_bins_of_each_coarse_bin(sequences):
    data = make_sequences(sequences, 3.0)
    pooled = pool(data)
    assert pooled["scores/replicate_mean"].shape == (replicate_count(sequences), 2, 2, len(COARSE))
    for index, edge in enumerate(COARSE):
        upper = COARSE[index + 1] if index + 1 < len(COARSE) else np.inf
        bins = [place for place, lag in enumerate(LAG) if edge <= lag < upper]
        for place, samples in enumerate(samples_by_replicate(data, 1, 0, bins)):
            assert pooled["scores/replicate_count"][place, index] == len(samples)
            expected = np.mean(samples) if samples else np.nan
            np.testing.assert_allclose(
                pooled["scores/replicate_mean"][place, 1, 0, index], expected, rtol=1e-12
            )


def test_a_small_spread_survives_a_mean_a_million_times_as_large():
    count = np.full((GROUPS, 16), 5)
    values = 1e6 + np.random.default_rng(1).normal(size=(2, GROUPS, 2, 16, 5))
    pooled = pool([(values, count)])
    np.testing.assert_allclose(pooled["scores/std"], values.std(axis=(1, 4)), rtol=1e-2)
    means = values.mean(axis=4)
    expected = means.std(axis=1, ddof=1) / math.sqrt(GROUPS)  # equal replicates: the textbook formula
    np.testing.assert_allclose(pooled["scores/mean_se"], expected, rtol=1e-7)


def test_the_standard_error_covers_the_truth_as_often_as_it_should():
    random = np.random.default_rng(3)
    covered = []
    for _ in range(300):
        count = random.integers(5, 15, size=(GROUPS, 1))
        shift = random.normal(size=(1, GROUPS, 1, 1))  # what a whole replicate shares
        sums = count[None, :, None] * shift + np.sqrt(count)[None, :, None] * random.normal(
            size=(1, GROUPS, 1, 1)
        )
        layer = LayerPool(1)
        square = np.ones((1, 1, 1))
        layer.add(0, {"scores/sum": sums, "scores/sum_square": square, "scores/pair_count": count})
        pooled = layer.results(np.array([0]), np.array([0]))
        covered.append(abs(pooled["scores/mean"].item()) < 2.365 * pooled["scores/mean_se"].item())
    assert 0.90 < np.mean(covered) < 0.98  # 95 % of Student's t with 7 degrees of freedom


def test_bins_without_pairs_are_nan_and_one_replicate_gives_no_error():
    pooled = pool(make_sequences(1, 0.0))
    for name in ("mean", "std", "mean_se"):
        assert np.isnan(pooled[f"scores/{name}"][..., -1]).all()
    assert np.isnan(pooled["scores/rest_mean"][:, -1]).all()
    assert np.isnan(pooled["scores/mean_se"][..., -2]).all()
    assert pooled["scores/count"][-1] == 0


def test_missing_sequences_leave_empty_replicates():
    data = make_sequences(3, 1.0)
    part = pool(data, planned=9)
    assert part["scores/replicate_count"].shape[0] == 9
    assert (part["scores/replicate_count"][3:] == 0).all()
    np.testing.assert_allclose(part["scores/mean"], pool(data)["scores/mean"], rtol=1e-12)


def test_the_rest_is_pooled_like_a_pair():
    data = make_sequences(2, 1.0)
    rest = sum(values.sum(axis=(1, 2, 4)) for values, _ in data)
    count = sum(count.sum(axis=0) for _, count in data)
    found = pool(data)["scores/rest_mean"]
    np.testing.assert_allclose(found[:, :-1], (rest / np.maximum(count, 1))[:, :-1], rtol=1e-12)


def test_an_empty_pool_gives_nothing():
    assert LayerPool(2).results(LAG, COARSE) == {}


def test_a_layer_that_changes_its_heads_is_refused():
    layer = LayerPool(2)
    (values, count), (more, other) = make_sequences(2, 0.0)
    layer.add(0, sums_of(values, count))
    with pytest.raises(CaptureError, match="same heads and pairs"):
        layer.add(1, sums_of(more[:1], other))
