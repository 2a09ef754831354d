"""Attention by distance against loops over the sampled queries."""

import numpy as np
import pytest
import xarray as xr

from ropediag import open_capture
from ropediag.analysis.attention_distance import _overlap, measure_attention_distance
from tests.analysis.captures import EXAMPLE
from tests.analysis.ragged import write_ragged


def test_masses_equal_the_means_over_the_queries():
    with open_capture(EXAMPLE) as capture:
        found = measure_attention_distance(capture).load()
        positions, mass = capture.values("rows/query_position"), capture.values("rows/mass")
        edges = capture.values("lag")
    layer, head = 1, 0
    inside, past, far, keys = [], [], [], []
    for sequence, row in np.ndindex(positions.shape):
        values = mass[sequence, layer, head, row].astype(float)
        if positions[sequence, row] < 128:
            inside.append(values)
        else:
            past.append(values)
            far.append(values[edges >= 128].sum())
            keys.append(1 - 128 / (positions[sequence, row] + 1))
    at = {"layer": layer, "query_head": head}
    np.testing.assert_allclose(found.mass_inside.sel(at), np.mean(inside, axis=0), atol=1e-12)
    np.testing.assert_allclose(found.mass_past.sel(at), np.mean(past, axis=0), atol=1e-12)
    assert float(found.far_mass.sel(at)) == pytest.approx(np.mean(far))
    assert float(found.far_keys.sel(layer=layer)) == pytest.approx(np.mean(keys))
    np.testing.assert_allclose(found.mass_past.sum("lag"), 1, rtol=1e-5)


def test_overlap_of_known_distributions():
    one = xr.DataArray([[1.0, 1, 2], [1, 0, 0], [3, 1, 0]], dims=("query_head", "lag"))
    other = xr.DataArray([[2.0, 2, 4], [0, 5, 5], [1, 1, 0]], dims=("query_head", "lag"))
    np.testing.assert_allclose(_overlap(one, other), [1, 0, 0.75])


def test_without_queries_past_the_training_length_nothing_is_known_of_them(tmp_path):
    with open_capture(write_ragged(tmp_path / "run.h5", train_len=40)) as capture:
        found = measure_attention_distance(capture).load()
    assert found.mass_past.isnull().all()
    assert found.far_mass.isnull().all()
    assert found.overlap.isnull().all()
    assert found.mass_inside.notnull().any()
