"""Massive values against loops over channels, and against inequality known by hand."""

import numpy as np
import xarray as xr

from ropediag import open_capture
from ropediag.analysis.massive_values import _gini, measure_massive_values
from tests.analysis.captures import EXAMPLE


def test_ratios_and_counts_equal_the_sums_written_out():
    layer = 1
    with open_capture(EXAMPLE) as capture:
        found = measure_massive_values(capture).load()
        vectors = capture.values("samples/query")[:, layer].astype(float)
        critical = int(capture.values("rope/critical_pair")[layer])
    ratios = np.zeros((8, 2, 64))
    for sequence in range(8):
        norms = np.array(
            [[np.sqrt(sum(vectors[sequence, h, :, c] ** 2)) for c in range(64)] for h in range(2)]
        )
        ratios[sequence] = norms / norms.mean()
    np.testing.assert_allclose(found.query_ratio.sel(layer=layer), ratios.mean(0), rtol=1e-9)
    np.testing.assert_allclose(
        found.query_ratio_se.sel(layer=layer), ratios.std(0, ddof=1) / np.sqrt(8), rtol=1e-9
    )
    massive = ratios.mean(0) > 5
    assert massive.sum() > 0
    assert found.query_count.sel(layer=layer).values.tolist() == massive.sum(-1).tolist()
    by_pair = [int(massive[:, [pair, pair + 32]].sum()) for pair in range(32)]
    assert found.query_by_pair.sel(layer=layer).values.tolist() == by_pair
    assert float(found.query_past.sel(layer=layer)) == sum(by_pair[critical:]) / sum(by_pair)
    assert float(found.query_largest.sel(layer=layer)) == ratios.mean(0).max()


def test_inequality_of_known_values():
    """Equal values: 0. One of n has all: 1 - 1/n. Of 1, 2, 3: mean difference 8/9 over twice the mean."""
    values = np.array([[[2.0, 2, 2]], [[0, 0, 5]], [[3, 1, 2]], [[4, np.nan, 4]]])
    ratio = xr.DataArray(values, dims=("layer", "head", "channel"), coords={"layer": range(4)})
    np.testing.assert_allclose(_gini(ratio, "head"), [0, 2 / 3, 2 / 9, 0], atol=1e-15)
