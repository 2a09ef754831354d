"""Sampled rows against softmax and contributions written out."""

import numpy as np
import pytest
import torch

from ropediag.capture.rows import LEVELS, Softmax, choose_rows, measure_contributions, measure_rows
from ropediag.rope import pair_channels
from ropediag.schema import lag_edges


@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("sink", [None, 1.5])
def test_softmax_statistics_match_the_written_out_softmax(window, softcap, sink):
    random = np.random.default_rng(0)
    length, edges = 90, lag_edges(90)
    query = torch.tensor(random.standard_normal((2, length, 4)), dtype=torch.float32)
    key = torch.tensor(random.standard_normal((length, 4)), dtype=torch.float32)
    rows = np.array([0, 3, 31, 89])
    sinks = None if sink is None else torch.full((2,), sink)
    found = measure_rows(query, key[None], rows, Softmax(window, softcap, sinks), edges)
    for head in range(2):
        for index, t in enumerate(rows):
            oldest = max(0, t + 1 - (window or length))
            logits = (query[head, t] @ key[oldest : t + 1].T).double().numpy()
            if softcap:
                logits = softcap * np.tanh(logits / softcap)
            total = np.exp(logits).sum() + (np.exp(sink) if sink is not None else 0)
            weights = np.exp(logits) / total
            lag = t - np.arange(oldest, t + 1)
            mass = [
                weights[(lag >= a) & (lag < b)].sum()
                for a, b in zip(edges, [*edges[1:], length], strict=True)
            ]
            np.testing.assert_allclose(found["logsumexp"][head, index], np.log(total), rtol=1e-5)
            np.testing.assert_allclose(
                found["entropy"][head, index], -(weights * np.log(weights)).sum(), atol=1e-5
            )
            np.testing.assert_allclose(found["max_weight"][head, index], weights.max(), rtol=1e-5)
            np.testing.assert_allclose(
                found["sink_mass"][head, index], weights[0] if oldest == 0 else 0, atol=1e-6
            )
            np.testing.assert_allclose(found["mass"][head, index], mass, atol=1e-5)


@pytest.mark.parametrize("lags", [25, 120])
def test_extremes_of_contributions_visit_every_key(lags):
    random = np.random.default_rng(1)
    length, edges, channels = 120, lag_edges(120, 2), pair_channels("half", 6)
    query, key = random.standard_normal((2, length, 6)), random.standard_normal((length, 6))
    rows = np.array([0, 5, 40, 119])
    found = measure_contributions(torch.tensor(query), torch.tensor(key)[None], channels, rows, edges, lags)
    contributions = np.einsum("htpc,spc->hpts", query[..., channels], key[:, channels])
    for bin_, (start, stop) in enumerate(zip(edges, [*edges[1:], length], strict=True)):
        values = [
            contributions[:, :, t, t - lag]
            for t in rows for lag in range(start, min(stop, lags)) if lag <= t
        ]  # fmt: skip
        if not values:
            assert np.isnan(found["minimum"][..., bin_]).all()
            continue
        np.testing.assert_allclose(found["minimum"][..., bin_], np.min(values, axis=0), atol=1e-5)
        np.testing.assert_allclose(found["maximum"][..., bin_], np.max(values, axis=0), atol=1e-5)
        if stop - start < 16:  # every key enters the quantiles of a narrow bin
            slow = np.quantile(np.array(values), LEVELS, axis=0)
            np.testing.assert_allclose(found["quantile"][..., bin_, :], np.moveaxis(slow, 0, -1), atol=1e-5)


@pytest.mark.parametrize(("length", "count"), [(2, 1), (2, 64), (50, 64), (8192, 64), (65536, 64), (8192, 1)])
def test_rows_are_distinct_positions_that_include_the_last(length, count):
    rows = choose_rows(length, count, np.random.default_rng(0))
    assert rows[-1] == length - 1
    assert len(rows) <= count
    assert len(np.unique(rows)) == len(rows)
    assert rows.min() >= 0
    if length >= 8192 and count == 64:
        assert len(rows) > 50
        assert np.sum(rows < 256) >= 10, "short contexts are sampled too"
