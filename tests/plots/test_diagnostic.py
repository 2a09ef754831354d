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
