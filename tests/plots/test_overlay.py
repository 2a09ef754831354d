"""Figures of several captures: one colour each, every number from the Dataset."""

import numpy as np
import pytest
import xarray as xr

from ropediag.plots.difference import plot_difference
from ropediag.plots.drift_curves import plot_drift_curves
from ropediag.plots.law import plot_limits
from ropediag.plots.overlay import plot_overlay
from ropediag.plots.style import COLOURS, DARK, DIVERGING


def make_curves():
    attrs = {"units": "steps", "long_name": "it"}
    two = ("capture", "point")
    position = np.array([[32.0, 64, 128, 256], [64, 128, 256, np.nan]])
    table = {
        "position": (two, position), "multiple": (two, position / np.array([[32], [64]])),
        "excess": (two, np.array([[0.0, 0.1, 0.5, 2], [0, 0.2, np.nan, np.nan]])),
        "query_position": (two, position), "query_multiple": (two, position / np.array([[32], [64]])),
        "past_mean": (two, position / 10), "before_mean": (two, -position),
        "train_len": ("capture", [32.0, 64]), "predicted_limit": ("capture", [32.0, np.nan]),
        "measured_limit": ("capture", [100.0, np.nan]), "measured_low": ("capture", [90.0, np.nan]),
        "measured_high": ("capture", [120.0, np.nan]),
    }  # fmt: skip
    variables = {name: (dims, values, attrs) for name, (dims, values) in table.items()}
    return xr.Dataset(variables, {"capture": ["a", "b"]}, {"threshold": 0.3})


@pytest.mark.parametrize(("along", "unit"), [("position", 1), ("multiple", 32)])
def test_curves_and_limits_of_a_capture_have_one_colour_and_one_legend_entry(along, unit):
    figure = plot_overlay(make_curves(), along)
    traces = [trace for trace in figure.data if trace.legendgroup == "a"]
    excess, past, before, predicted, measured = traces
    np.testing.assert_allclose(excess.x, np.array([32, 64, 128, 256]) / unit)
    np.testing.assert_allclose(excess.y, [0, 0.1, 0.5, 2])
    assert (excess.yaxis, past.yaxis, before.yaxis) == ("y", "y2", "y2")
    assert predicted.x[0] * unit == 32
    assert measured.x[0] * unit == pytest.approx(100)
    assert measured.error_x.array[0] * unit == pytest.approx(20)
    assert predicted.y[0] == measured.y[0] == 0.3
    colours = {excess.line.color, past.line.color, before.line.color, measured.marker.color}
    assert colours == {COLOURS[0]} <= DARK.keys()
    assert [trace.name for trace in figure.data if trace.showlegend] == ["a", "b"]
    (other,) = [trace for trace in figure.data if trace.legendgroup == "b" and trace.yaxis == "y"]
    assert len(other.x) == 2
    assert len(figure.layout.shapes) == (3 if along == "position" else 2)


def test_drift_curves_pick_pairs_and_mark_each_critical_pair_once():
    attrs = {"units": "std", "long_name": "it"}
    values = np.arange(8.0).reshape(2, 4)
    two = ("capture", "pair")
    table = {name: (two, values + step, attrs) for step, name in enumerate(("largest", "mean", "drifting"))}
    axes = {"capture": ["a", "b"], "pair": ("pair", [0, 1, 2, 3], attrs)}
    curves = xr.Dataset(table | {"critical_pair": ("capture", [2.0, 2.0])}, axes)
    figure = plot_drift_curves(curves, "mean")
    np.testing.assert_array_equal(figure.data[1].y, values[1] + 1)
    assert figure.layout.meta["columns"] == {"pair": [0, 1, 2, 3]}
    assert [shape.x0 for shape in figure.layout.shapes] == [1.5]
    assert figure.data[0].line.color != figure.data[1].line.color


def test_limits_are_drawn_where_both_are_known():
    attrs = {"units": "tokens"}
    names = ("predicted", "measured", "measured_low", "measured_high")
    rows = [[128.0, 386, np.nan], [146.0, 468, 50], [142.0, 460, np.nan], [150.0, 480, np.nan]]
    table = xr.Dataset(
        {name: ("capture", row, attrs) for name, row in zip(names, rows, strict=True)},
        {"capture": ["a", "b", "c"]},
    )
    law, first, second = plot_limits(table).data
    assert tuple(law.x) == tuple(law.y) == (128.0, 386.0)
    assert (first.name, second.name) == ("a", "b")
    assert (second.x[0], second.y[0], second.error_y.array[0]) == (386, 468, 12)


def test_a_difference_map_is_centred_on_zero_and_ends_at_its_reach():
    attrs = {"units": "1", "long_name": "it"}
    values = np.array([[0.5, 9.0], [1.0, 2.0]])
    found = xr.Dataset(
        {"difference": (("layer", "pair"), values, attrs)},
        {"layer": ("layer", [0, 1], attrs), "pair": ("pair", [3, 4], attrs)},
        {"question": "q", "reach": 2.0},
    )
    drawn = plot_difference(found).data[0]
    assert (drawn.zmin, drawn.zmax) == (-2.0, 2.0)
    assert [list(step) for step in drawn.colorscale] == DIVERGING
    np.testing.assert_array_equal(drawn.z, values.T)


def test_a_difference_says_whose_critical_pair_it_marks():
    axes = {dim: (dim, [0, 1], {"units": "1", "long_name": dim}) for dim in ("layer", "pair")}
    values = {"difference": (("layer", "pair"), np.eye(2), {"units": "1", "long_name": "it"})}
    found = xr.Dataset(values, axes, {"question": "q", "reach": 2.0})
    line = plot_difference(found, xr.DataArray([1, 1], {"layer": [0, 1]})).data[1]
    assert line.name == "critical pair of the selected capture"
