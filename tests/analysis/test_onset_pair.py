"""Onset pairs of a drift made by hand, and of the bundled model."""

import numpy as np
import pytest
import xarray as xr

from ropediag import open_capture
from ropediag.analysis.onset_pair import find_onset_pairs, interpolate_onset, measure_onset_pair
from tests.analysis.captures import EXAMPLE

AXES = ("layer", "query_head", "pair")


def make_drift(value, error, drifts):
    coordinates = {axis: np.arange(size) for axis, size in zip(AXES, np.shape(value), strict=True)}
    margin = 1.96 * np.array(error)
    arrays = {"drift": value, "drift_low": value - margin, "drift_high": value + margin, "drifts": drifts}
    return xr.Dataset(
        {name: (AXES, np.array(array)) for name, array in arrays.items()}, coordinates, {"trained": 16}
    )


@pytest.fixture
def found():
    value = np.array([
        [[0.0, 0.1, 0.3, 0.6, 0.1], [0.0, 0.0, 0.0, 0.4, 0.0]],
        [[0.0, 0.0, 0.0, 0.0, 0.0], [np.nan] * 5],
    ])  # fmt: skip
    error = np.where(np.isnan(value), np.nan, 0.1)
    drifts = np.array([[[0, 0, 0, 1, 0], [0, 0, 0, 1, 0]], np.zeros((2, 5))], dtype=bool)
    return find_onset_pairs(make_drift(value, error, drifts), xr.DataArray([2, -1], dims="layer"))


def test_a_head_begins_at_its_first_pair_that_drifts(found):
    np.testing.assert_array_equal(found.onset_pair, [[3, 3], [np.nan, np.nan]])
    np.testing.assert_array_equal(found.onset_pair_low, [[1, 3], [np.nan, np.nan]])  # 0.1 + 0.196 > 0.25
    np.testing.assert_array_equal(found.onset_pair_high, [[3, 3], [np.nan, np.nan]])


def test_a_layer_and_the_model_begin_where_the_mean_over_their_heads_does(found):
    """Means of layer 0: 0, 0.05, 0.15, 0.5, 0.05, with errors of 0.07; the model has three heads."""
    np.testing.assert_array_equal(found.layer_onset_pair, [3, np.nan])
    np.testing.assert_array_equal(found.layer_onset_pair_low, [2, np.nan])  # 0.15 + 0.139 > 0.25
    np.testing.assert_array_equal(found.layer_onset_pair_high, [3, np.nan])
    assert float(found.model_onset_pair) == 3  # 1.0 / 3
    assert float(found.model_onset_pair_low) == 3  # 0.1 + 0.113 < 0.25
    assert np.isnan(float(found.model_onset_pair_high))  # 0.333 - 0.113 < 0.25


def test_a_mean_of_pairs_that_do_not_drift_is_no_onset():
    """As with one sequence, where means of fast pairs are large by chance and only pair 2 is told apart."""
    value = np.array([[[0.4, 0.3, 0.9], [0.4, 0.3, 0.8]]])
    drifts = np.array([[[False, False, True], [False, False, False]]])
    drift = make_drift(value, np.full(value.shape, 0.2), drifts)
    found = find_onset_pairs(drift, xr.DataArray([1], dims="layer"))
    assert found.layer_onset_pair.values.tolist() == [2]
    assert float(found.model_onset_pair) == 2
    assert float(found.model_onset_pair_low) == 0
    assert float(found.model_onset_pair_high) == 2


def test_the_share_past_the_critical_pair_is_that_of_the_drift(found):
    np.testing.assert_allclose(found.past_critical, [1.4 / 1.5, np.nan])
    np.testing.assert_array_equal(found.critical_pair, [2, np.nan])
    assert float(found.model_past_critical) == pytest.approx(1.4 / 1.5)


def test_the_bundled_model_begins_within_three_pairs_of_the_critical_one():
    with open_capture(EXAMPLE) as capture:
        found = measure_onset_pair(capture)
    onset = float(found.model_onset_pair)
    assert float(found.model_onset_pair_low) <= onset <= float(found.model_onset_pair_high)
    assert 11 <= onset <= 14
    assert float(found.model_past_critical) >= 0.9


@pytest.mark.parametrize(
    ("drift", "pair", "place"),
    [
        ([0.0, 0.1, 0.4, 0.6], 2, 1.5),
        ([0.0, 0.25, 0.35, 0.0], 2, 1.0),
        ([0.0, 0.3, 0.35, 0.0], 2, 1.0),  # the pair before moved as much, but was too uncertain to count
        ([0.0, 0.0, 0.25, 0.0], 2, 2.0),
        ([np.nan, np.nan, 0.5, 0.6], 2, 1.5),  # pairs that made a full turn meet no unseen angle
        ([0.5, 0.0], 0, 0.0),
        ([0.0, 0.0], np.nan, np.nan),
    ],
)
def test_the_onset_is_placed_between_pairs(drift, pair, place):
    assert interpolate_onset(np.array(drift), float(pair)) == pytest.approx(place, nan_ok=True)
