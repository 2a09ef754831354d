"""Claims about the breakdown's picture: it draws what it is given, and names it as the arrays do."""

import json

import numpy as np
import pytest
import xarray as xr

from ropediag.plots import SHOW_CONFIG
from ropediag.plots.breakdown import plot_breakdown


def make_breakdown(**marks):
    """Random curves under made-up names, as the analysis labels them."""
    random = np.random.default_rng(0)
    curves = {}
    dims = dict.fromkeys(("before_mean", "before_std", "past_mean", "past_std"), "query_position")
    for name, dim in (dims | dict.fromkeys(("nll", "nll_windowed", "excess"), "position")).items():
        count = 7 if dim == "query_position" else 9
        where = (dim, 2.0 ** np.arange(3, 3 + count), {"units": "steps", "long_name": "place"})
        attrs = {"units": f"unit of {name}", "long_name": f"meaning of {name}"}
        curves[name] = xr.DataArray(random.normal(size=count), coords={dim: where}, dims=dim, attrs=attrs)
    values = {
        "train_len": 64.0, "predicted_limit": 128.0, "measured_limit": 200.0, "measured_low": 190.0,
        "measured_high": 230.0, **marks,
    }  # fmt: skip
    for name, value in values.items():
        labels = {"units": "steps", "long_name": f"the {name}", "interval": "range"}
        curves[name] = xr.DataArray(value, attrs=labels)
    attrs = {"model": "toy", "base": 500.0, "length": 4096, "averaged": "one of all"}
    return xr.Dataset(curves, attrs=attrs)


def lines(figure):
    return {trace.name: trace for trace in figure.data if trace.name and trace.fill is None}


def test_lines_are_the_arrays_value_by_value():
    breakdown = make_breakdown()
    drawn = lines(plot_breakdown(breakdown))
    for name in ("before_mean", "past_mean", "nll", "nll_windowed"):
        trace = drawn[f"meaning of {name}"]
        np.testing.assert_array_equal(trace.y, breakdown[name].values)
        np.testing.assert_array_equal(trace.x, breakdown[name][breakdown[name].dims[0]].values)


def test_bands_reach_one_deviation_to_either_side():
    breakdown = make_breakdown()
    band = plot_breakdown(breakdown).data[0]
    upper, lower = np.split(np.asarray(band.y), 2)
    mean, std = breakdown.before_mean.values, breakdown.before_std.values
    np.testing.assert_allclose(upper, mean + std)
    np.testing.assert_allclose(lower[::-1], mean - std)


def test_every_text_about_data_comes_from_the_arrays():
    layout = plot_breakdown(make_breakdown()).layout
    assert layout.yaxis.title.text == "partial logit (unit of past_mean):<br>mean ± meaning of past_std"
    assert layout.yaxis2.title.text == "loss (unit of nll)"
    assert layout.xaxis.title.text == "position (steps)"
    assert layout.title.text == "toy, base 500: one of all"


def test_limits_are_marked_and_named_with_their_interval():
    texts = [note.text for note in plot_breakdown(make_breakdown()).layout.annotations]
    measured = "the measured_limit: 200 (range 190 to 230)"
    assert texts == [measured, "the predicted_limit: 128", "the train_len: 64"]


def test_marks_at_one_place_share_one_label():
    texts = [note.text for note in plot_breakdown(make_breakdown(predicted_limit=64.0)).layout.annotations]
    assert "the train_len and the predicted_limit: 64" in texts


@pytest.mark.parametrize("name", ["predicted_limit", "measured_limit"])
def test_a_limit_that_is_not_known_is_not_marked(name):
    unknown = {name: np.nan}
    if name == "measured_limit":
        unknown |= {"measured_low": np.nan, "measured_high": np.nan}
    figure = plot_breakdown(make_breakdown(**unknown))
    assert not any(name in note.text for note in figure.layout.annotations)
    json.dumps(figure.to_plotly_json()["layout"], allow_nan=False)


def test_a_capture_without_windowed_loss_is_drawn_too():
    figure = plot_breakdown(make_breakdown().drop_vars(["nll_windowed", "excess"]))
    assert set(lines(figure)) == {"meaning of before_mean", "meaning of past_mean", "meaning of nll"}


def test_a_query_at_position_0_has_no_place_on_the_logarithmic_axis():
    breakdown = make_breakdown()
    breakdown = breakdown.assign_coords(query_position=breakdown.query_position - breakdown.query_position[0])
    figure = plot_breakdown(breakdown)
    assert figure.layout.xaxis.range[0] == 0
    assert min(figure.data[0].x) > 0


def test_no_trace_needs_webgl_and_no_figure_offers_an_upload():
    figure = plot_breakdown(make_breakdown())
    assert {trace.type for trace in figure.data} == {"scatter"}
    html = figure.to_html(include_plotlyjs=False, config=SHOW_CONFIG)
    assert '"showSendToCloud": false' in html
    assert '"displaylogo": false' in html
