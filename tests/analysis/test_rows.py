"""Averages over sampled queries against loops over them."""

import numpy as np
import pytest
import xarray as xr

from ropediag.analysis.rows import average_rows, bin_queries
from ropediag.schema import lag_edges


def test_queries_fall_into_the_bins_of_their_positions():
    positions = np.array([[0, 1, 3, 130], [2, 191, 192, 255]])
    bins = bin_queries(positions, 256)
    edges = lag_edges(256, 2)
    for sequence, row in np.ndindex(positions.shape):
        (place,) = np.flatnonzero(bins[sequence, row])
        upper = [*edges, 256][place + 1]
        assert edges[place] <= positions[sequence, row] < upper
    assert bins.query_position.values.tolist() == edges


@pytest.mark.parametrize("sequences", [1, 9])
def test_means_and_errors_are_those_of_the_queries_written_out(sequences):
    random = np.random.default_rng(sequences)
    values = random.normal(size=(sequences, 2, 12))
    values[0, 1, 3] = np.nan
    positions = np.sort(random.integers(0, 16, (sequences, 12)))
    found, error = average_rows(
        xr.DataArray(values, dims=("sequence", "query_head", "row")), bin_queries(positions, 16)
    )
    edges = [*lag_edges(16, 2), 16]
    for head, place in np.ndindex(2, len(edges) - 1):
        chosen = (positions >= edges[place]) & (positions < edges[place + 1]) & np.isfinite(values[:, head])
        if chosen.sum() < 2:
            assert np.isnan(error[head, place])
            continue
        members = values[:, head][chosen]
        assert float(found[head, place]) == pytest.approx(members.mean())
        if sequences == 1:
            expected = members.std(ddof=1) / np.sqrt(len(members))
        else:
            held = [values[s, head][chosen[s]] for s in range(sequences) if chosen[s].any()]
            squares = [(len(m) * (m.mean() - members.mean()) / len(members)) ** 2 for m in held]
            expected = np.sqrt(len(held) / (len(held) - 1) * sum(squares)) if len(held) > 1 else np.nan
        assert float(error[head, place]) == pytest.approx(expected, nan_ok=True)
