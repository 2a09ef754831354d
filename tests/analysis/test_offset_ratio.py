"""Offset ratios of vectors that are known."""

import numpy as np
import xarray as xr

from ropediag import open_capture
from ropediag.analysis.heads import key_head_index
from ropediag.analysis.offset_ratio import _average_angle, measure_offset_ratio
from tests.analysis.captures import EXAMPLE


def test_products_and_turns_equal_the_sums_written_out():
    with open_capture(EXAMPLE) as capture:
        found = measure_offset_ratio(capture).load()
        query, key = capture.values("vectors/query_offset"), capture.values("vectors/key_offset")
        owner = key_head_index(capture)
    at = {"layer": 1, "query_head": 1, "pair": 14}
    products = query[:, 1, 1, 14].astype(float) * key[:, 1, owner[1], 14]
    np.testing.assert_allclose(found["product"].sel(at), products.mean(), rtol=1e-6)
    np.testing.assert_allclose(found.product_se.sel(at), products.std(ddof=1) / np.sqrt(8), rtol=1e-6)
    np.testing.assert_allclose(found.turns.sel(layer=1, pair=11), 128 / 149.0, rtol=1e-3)


def test_the_angle_is_that_of_the_mean_contribution():
    """Where nearly all of a pair is its mean, the mean contribution at lag 0 has the sign of the cosine."""
    with open_capture(EXAMPLE) as capture:
        found = measure_offset_ratio(capture).load()
        first = capture["scores/mean"].sel(lag=0).load()
    sure = found["product"] > 0.9
    assert sure.sum() > 3
    agree = np.sign(np.cos(found.angle)) == np.sign(first)
    assert bool(agree.where(sure, True).all())


def test_a_mean_direction_goes_round_the_circle():
    angle = xr.DataArray([[np.pi - 0.1], [-np.pi + 0.3]], dims=("sequence", "pair"))
    mean, error = _average_angle(angle, xr.ones_like(angle))
    np.testing.assert_allclose(mean, -np.pi + 0.1)
    np.testing.assert_allclose(error, 0.2)  # deviations of 0.2 to both sides of two sequences


def test_a_direction_of_nothing_is_unknown():
    angle = xr.DataArray([[np.nan], [np.nan]], dims=("sequence", "pair"))
    mean, error = _average_angle(angle, angle)
    assert np.isnan(mean).all()
    assert np.isnan(error).all()
