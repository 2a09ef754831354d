"""The format's tables agree with each other, and its bins tile what they should."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ropediag import schema
from ropediag.schema import lag_edges, position_edges
from ropediag.store.units import GROUPS, HEADER, LAYER, LOSS, RAW_SUMS


def test_names_are_unique_and_axes_are_known():
    paths = [variable.path for variable in schema.VARIABLES]
    names = [dimension.name for dimension in schema.DIMENSIONS]
    assert len(set(paths)) == len(paths)
    assert len(set(names)) == len(names)
    for variable in schema.VARIABLES:
        assert set(variable.dims) <= set(names)
        assert len(set(variable.dims)) == len(variable.dims)
        assert variable.name not in names  # a group links its coordinates under their own names
    assert not set(GROUPS) & set(names)


def test_types_are_those_every_netcdf_reader_has():
    for entry in (*schema.VARIABLES, *schema.DIMENSIONS):
        assert entry.dtype in {"f4", "f8", "i4", "i8", "str"}
        assert entry.units
        assert entry.long_name
    assert {variable.method for variable in schema.VARIABLES} == {"exact", "sampled", "given"}


def test_every_variable_has_one_place_in_a_running_capture():
    pooled = {variable.path for variable in schema.VARIABLES if variable.pooled}
    places = [set(HEADER), set(LAYER) - set(RAW_SUMS), set(LOSS), pooled]
    assert sum(map(len, places)) == len(schema.VARIABLES)
    assert set.union(*places) == {variable.path for variable in schema.VARIABLES}
    assert {"rope/inv_freq", "rows/query_position", "vectors/angle"} <= set(HEADER)
    assert {"rows/entropy", "samples/kept_key", "scores/lag_mean_max"} <= set(LAYER)


@given(length=st.integers(1, 300_000), per_doubling=st.sampled_from([1, 2, 4, 8]))
def test_lag_bins_are_narrow_and_do_not_depend_on_the_length(length, per_doubling):
    edges = np.array(lag_edges(length, per_doubling))
    assert edges[0] == 0
    assert edges[-1] < length
    widths = np.diff([*edges, length])
    assert (widths >= 1).all()
    assert (widths[1:] * per_doubling <= np.maximum(edges[1:], per_doubling)).all()
    longer = lag_edges(2 * length, per_doubling)
    assert longer[: len(edges)] == edges.tolist()


@given(length=st.integers(1, 300_000))
def test_coarse_lag_edges_are_fine_ones(length):
    assert set(lag_edges(length, 2)) <= set(lag_edges(length))


@pytest.mark.parametrize("length", [65_536, 1_000_000])
def test_the_number_of_lag_bins_grows_with_the_logarithm(length):
    assert len(lag_edges(length)) <= 8 * (np.log2(length) - 2) + 1


@given(length=st.integers(1, 300_000), bins=st.integers(1, 512))
def test_position_bins_are_equal_to_a_token(length, bins):
    edges = position_edges(length, bins)
    widths = np.diff([*edges, length])
    assert edges[0] == 0
    assert len(edges) == min(bins, length)
    assert widths.min() >= 1
    assert widths.max() - widths.min() <= 1
