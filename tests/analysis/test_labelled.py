"""Means over replicates and their errors against formulas written out."""

import numpy as np
import pytest
import xarray as xr

from ropediag.analysis.labelled import average, average_groups


def test_an_average_leaves_out_what_is_unknown():
    values = xr.DataArray([[1.0, 5], [3, np.nan], [8, np.nan]], dims=("sequence", "pair"))
    mean, error = average(values, "sequence")
    np.testing.assert_allclose(mean, [4, 5])
    np.testing.assert_allclose(error, [np.sqrt(13 / 3), np.nan])  # variance (9 + 1 + 16) / 2 of three values


@pytest.mark.parametrize("sequences", [1, 3, 8, 11])
def test_groups_of_unequal_size_have_the_error_of_a_ratio_or_of_their_members(sequences):
    random = np.random.default_rng(sequences)
    members = [random.normal(3, 1, random.integers(1, 9)) for _ in range(sequences)]
    sums = [[m.sum(), (m**2).sum(), len(m)] for m in members]
    total, square, count = (xr.DataArray(column, dims="sequence") for column in np.array(sums).T)
    mean, error = average_groups(total, square, count)
    pooled = np.concatenate(members)
    assert float(mean) == pytest.approx(pooled.mean())
    expected = pooled.std(ddof=1) / np.sqrt(len(pooled))
    if sequences >= 8:
        weights = np.array([len(m) for m in members]) / len(pooled)
        means = np.array([m.mean() for m in members])
        expected = np.sqrt(sequences / (sequences - 1) * np.sum(weights**2 * (means - pooled.mean()) ** 2))
    assert float(error) == pytest.approx(expected)
