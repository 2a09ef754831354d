"""Difference maps: the range of the colours, what lies beyond it, and which part is shown."""

import numpy as np
import pytest
import xarray as xr

from ropediag import open_capture
from ropediag.analysis.compare import match, measure_both, measure_one
from ropediag.analysis.difference_map import CELLS, SHOWN, choose_part, map_difference, rank_part
from ropediag.analysis.ranking import rank_differences
from ropediag.errors import ConfigError
from tests.analysis.captures import EXAMPLE

TUNED = EXAMPLE.with_name("example-tuned-b160000-8192.h5")
AT = {"layer": 1, "query_head": 1}


@pytest.fixture(scope="module")
def captures():
    with open_capture(EXAMPLE) as first, open_capture(TUNED) as second:
        yield first, second


def make_both(**sizes):
    random, shape = np.random.default_rng(0), tuple(sizes.values())
    axes = {dim: np.arange(size) for dim, size in sizes.items()}
    attrs = {"units": "1", "long_name": "it"}
    values = [(tuple(sizes), random.normal(size=shape), attrs) for _ in range(2)]
    return tuple(xr.Dataset({"it": value}, axes, {"shows": "it", "high": ""}) for value in values)


def test_half_a_percent_of_the_cells_lie_beyond_the_range_of_the_colours():
    both = make_both(layer=8, query_head=8, pair=64)
    found = map_difference(both)
    difference = (both[1].it - both[0].it).values
    np.testing.assert_allclose(found.difference, difference, rtol=1e-6)
    ranked = np.sort(np.abs(difference).ravel())
    place = SHOWN * (ranked.size - 1)
    assert ranked[int(place)] * (1 - 1e-6) <= found.attrs["reach"] <= ranked[int(place) + 1] * (1 + 1e-6)
    assert found.attrs["cells"] == ranked.size
    assert found.attrs["clipped"] == sum(value > found.attrs["reach"] for value in ranked.tolist()) == 21


def test_a_difference_in_one_cell_has_a_range():
    both = make_both(layer=20, query_head=20, pair=20)
    both[1]["it"].values[:] = both[0]["it"].values
    both[1]["it"].values[3, 4, 5] += 2.0
    found = map_difference(both)
    assert found.attrs["reach"] == pytest.approx(2.0)
    assert found.attrs["clipped"] == 0


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"layer": 4, "query_head": 2, "pair": 32}, []),
        ({"layer": 32, "query_head": 32, "pair": 64}, []),
        ({"layer": 32, "query_head": 32, "lag": 136}, ["layer"]),
        ({"layer": 4, "query_head": 2, "pair": 32, "lag": 88}, ["layer", "query_head"]),
        ({"layer": 4, "kv_head": 2, "pair": 32}, []),
        ({"layer": 4, "pair": 32, "sample": 57}, ["layer"]),
        ({"query_position": 56}, []),
    ],
)
def test_a_map_has_two_axes_and_no_more_cells_than_a_view_may_send(sizes, expected):
    both = make_both(**sizes)
    at = {"layer": 3, "query_head": 1}
    assert choose_part(both, "it", at) == {dim: at[dim] for dim in expected}
    found = map_difference(both, at=at)
    assert found.difference.size <= CELLS
    for dim in expected:
        assert f"{dim.removeprefix('query_')} {at[dim]}" in found.attrs["part"]


def test_a_head_that_one_capture_lacks_and_an_unknown_variable_are_refused():
    both = make_both(layer=4, query_head=2, pair=3, lag=5)
    with pytest.raises(ConfigError, match=r"layer 7 is not in both captures: they share \[0, 1, 2, 3\]"):
        map_difference(both, at={"layer": 7, "query_head": 0})
    with pytest.raises(ConfigError, match="no 'that': choose from it"):
        map_difference(both, "that")


def test_scores_of_one_head_are_those_read_with_all_others(captures):
    whole = map_difference(measure_both(*captures, "scores"), at=AT)
    measured = tuple(measure_one(capture, "scores", **AT) for capture in captures)
    both = match(captures, measured, "scores")
    assert both[0].sizes["layer"] == both[0].sizes["query_head"] == 1
    alone = map_difference(both, at=AT)
    assert alone.difference.dims == ("pair", "lag")
    xr.testing.assert_equal(alone.difference, whole.difference)
    assert alone.attrs["reach"] == whole.attrs["reach"]


def test_a_layer_that_a_capture_lacks_is_refused_before_it_is_read(captures):
    with pytest.raises(ConfigError, match="layer"):
        measure_one(captures[0], "scores", layer=9)


def test_the_largest_differences_are_those_of_the_part_alone(captures):
    both = measure_both(*captures, "scores")
    ranking = rank_part(both, at=AT)
    first, second = (part[["mean", "mean_se"]].sel(AT).drop_vars(tuple(AT)) for part in both)
    assert ranking == rank_differences(first, second, 5, "mean")
    assert ranking.tested == 32 * 88
    assert set(ranking.differences[0].at) == {"pair", "lag"}
