"""Claims about the picture of recall: each cell is its value, under the names of the arrays."""

import numpy as np
import pytest
import xarray as xr

from ropediag.plots import SHOW_CONFIG
from ropediag.plots.recall import plot_recall


def make_recall(train_len=128):
    random = np.random.default_rng(0)
    hits, count = random.integers(0, 9, (3, 2)), np.full((3, 2), 9)
    axes = {
        "length": ("length", [128, 256, 4096], {"units": "steps", "long_name": "how long"}),
        "depth": ("depth", [0.0, 0.5], {"units": "1", "long_name": "how deep"}),
    }
    share = (("length", "depth"), hits / count, {"units": "1", "long_name": "share found"})
    values = {"share": share, "hits": (("length", "depth"), hits), "count": (("length", "depth"), count),
              "answer_lag": (("length", "depth"), random.uniform(size=(3, 2)))}  # fmt: skip
    return xr.Dataset(values, axes, {"model": "toy", "base": 500.0, "train_len": train_len, "task": "needle"})


def test_cells_are_the_array_with_lengths_across_and_depths_down():
    recall = make_recall()
    drawn = plot_recall(recall).data[0]
    np.testing.assert_array_equal(drawn.z, recall.share.values.T)
    np.testing.assert_array_equal(drawn.customdata[..., 0], recall.hits.values.T)
    np.testing.assert_array_equal(drawn.customdata[..., 2], recall.answer_lag.values.T)
    assert (list(drawn.x), list(drawn.y)) == (["128", "256", "4,096"], ["0", "0.5"])
    assert (drawn.zmin, drawn.zmax) == (0, 1)


def test_every_text_about_data_comes_from_the_array():
    layout = plot_recall(make_recall()).layout
    assert layout.title.text == "toy, base 500: recall, needle"
    assert layout.xaxis.title.text == "how long (steps)"
    assert layout.yaxis.title.text == "how deep"


@pytest.mark.parametrize(("train_len", "places"), [(64, []), (128, [0.5]), (300, [1.5]), (4096, [])])
def test_a_line_parts_what_lies_within_the_training_length(train_len, places):
    assert [shape.x0 for shape in plot_recall(make_recall(train_len)).layout.shapes] == places


def test_no_trace_needs_webgl_and_no_figure_offers_an_upload():
    figure = plot_recall(make_recall())
    assert {trace.type for trace in figure.data} == {"heatmap"}
    html = figure.to_html(include_plotlyjs=False, config=SHOW_CONFIG)
    assert '"showSendToCloud": false' in html
