"""Maps of diagnostics: under the pointer each cell has the name of its layer, head, pair or lag."""

import numpy as np
import pytest
import xarray as xr

from ropediag.plots import SHOW_CONFIG
from ropediag.plots.diagnostic import plot_diagnostic

AXES = {
    "layer": ("1", np.arange(32)),
    "query_head": ("1", np.arange(32)),
    "pair": ("1", np.arange(64)),
    "lag": ("tokens", np.arange(60) * 7 + 1),
    "query_position": ("tokens", np.arange(12_000) * 16),
}


def make_map(*dims):
    coords = {dim: (dim, AXES[dim][1], {"units": AXES[dim][0], "long_name": dim}) for dim in dims}
    values = np.random.default_rng(0).gamma(1.0, 0.3, [len(AXES[dim][1]) for dim in dims])  # as drifts are
    array = (dims, values, {"units": "logit", "long_name": "it"})
    return plot_diagnostic(xr.Dataset({"it": array}, coords, {"shows": "it", "question": "which?"}))


@pytest.mark.parametrize(
    ("dims", "lines"), [(("layer", "query_head", "pair"), 1), (("query_head", "pair"), 1), (("lag",), 0)]
)
def test_the_critical_pair_of_one_layer_stays_a_line(dims, lines):
    coords = {dim: (dim, AXES[dim][1]) for dim in dims}
    found = xr.Dataset({"it": (dims, np.ones([len(AXES[dim][1]) for dim in dims]))}, coords, {"shows": "it"})
    every = xr.DataArray(np.full(32, 11), {"layer": np.arange(32)}, dims=("layer",))
    figure = plot_diagnostic(found, critical_pair=every if "layer" in dims else every.sel(layer=3))
    drawn = [trace for trace in figure.data if trace.name == "critical pair"]
    assert len(drawn) == lines
    assert all((trace.y == 10.5).all() for trace in drawn)


def test_the_critical_pair_stands_in_the_curve_of_one_head():
    found = xr.Dataset({"it": ("pair", np.ones(64))}, {"pair": np.arange(64)}, {"shows": "it"})
    figure = plot_diagnostic(found, critical_pair=xr.DataArray(11))
    assert [shape.x0 for shape in figure.layout.shapes] == [10.5]
    assert not plot_diagnostic(found, critical_pair=xr.DataArray(-1)).layout.shapes  # a layer without RoPE


def hover(chromium, figure, path, column, row):
    """Show a figure as a file of its own and point at a cell; give the words, and x and y of a click."""
    figure.write_html(path, config=SHOW_CONFIG)
    page = chromium.new_page(viewport={"width": 1000, "height": 1200})
    page.goto(path.as_uri())
    page.wait_for_selector(".nsewdrag")
    box = page.locator(".nsewdrag").first.bounding_box()
    size = figure.data[0].z.shape
    across, down = (column + 0.5) / size[1], (row + 0.5) / size[0]
    page.mouse.move(box["x"] + box["width"] * across, box["y"] + box["height"] * down)
    page.wait_for_selector(".hoverlayer .hovertext")
    words = page.locator(".hoverlayer .hovertext").text_content()
    point = page.evaluate("(([at]) => [at.x, at.y])(document.querySelector('.js-plotly-plot')._hoverdata)")
    page.close()
    return words, point


@pytest.mark.parametrize(
    ("dims", "column", "row", "expected"),
    [
        (
            ("layer", "query_head", "pair"),
            20 * 32 + 5,
            37,
            "layer . head {layer} . {query_head}, pair {pair}",
        ),
        (
            ("layer", "query_head", "lag"),
            19,
            20 * 32 + 5,
            "lag {lag} tokens, layer . head {layer} . {query_head}",
        ),
        (("layer", "query_position"), 11_000, 9, "query position {query_position} tokens, layer {layer}"),
    ],
)
def test_a_cell_that_has_no_tick_is_named_under_the_pointer(chromium, tmp_path, dims, column, row, expected):
    figure = make_map(*dims)
    words, (x, y) = hover(chromium, figure, tmp_path / "map.html", column, row)
    x, y = round(x), round(y)
    assert abs(x - column) <= figure.data[0].z.shape[1] / 600  # a pixel may hold several columns
    assert abs(y - row) <= figure.data[0].z.shape[0] / 600
    shown = {name: values[x] for name, values in figure.layout.meta["columns"].items()}
    shown |= {name: values[y] for name, values in figure.layout.meta["rows"].items()}
    label = {name: f"{value:,}" for name, value in shown.items()}
    assert words.startswith(expected.format(**label))


def test_the_map_of_a_large_model_stays_small():
    assert len(make_map("layer", "query_head", "pair").to_json()) < 460_000
