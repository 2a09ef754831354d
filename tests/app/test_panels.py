"""Every panel of every page draws every capture, and sends no more than a screen can show."""

from pathlib import Path

import pytest
from plotly.io.json import to_json_plotly

from ropediag.app.answers import export_tables, fit
from ropediag.app.page import find_pages
from ropediag.app.view import Desk
from ropediag.app.wiring import resolve_selection
from ropediag.errors import RopediagError
from ropediag.plots.style import DARK
from tests.analysis.ragged import write_ragged
from tests.app.conftest import CAPTURES

PANELS = {panel.name: panel for page in find_pages() for panel in page.panels}
PARTS = {part.name: part for page in find_pages() for part in page.parts}
MOST = 500_000  # bytes of one view


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk(CAPTURES)


def view_of(desk: Desk, **fields: str):
    selection, _ = resolve_selection(desk, fields)
    return desk.view(selection)


def example(desk: Desk, panel: str):
    """A view of the example that has something for this panel: kept heads for the attention map."""
    kept = panel.startswith("score") or "attention" in panel
    return view_of(desk, capture="example-kept-2048.h5" if kept else "example-8192.h5")


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_draws_the_example(desk: Desk, name: str) -> None:
    view, panel = example(desk, name), PANELS[name]
    measured = panel.measure(view)
    figure = fit(panel.draw(measured, view))
    assert figure["data"]
    assert len(to_json_plotly(figure)) < MOST
    assert panel.explain(measured)
    assert not any(trace["type"].endswith("gl") for trace in figure["data"])
    assert export_tables(panel, view)[1]


@pytest.mark.parametrize("name", PANELS)
def test_the_code_beside_a_panel_makes_its_figure(desk: Desk, name: str) -> None:
    view, panel = example(desk, name), PANELS[name]
    drawn = panel.draw(panel.measure(view), view)
    *lines, last = panel.code(view).splitlines()
    scope: dict = {}
    exec("\n".join(lines), scope)
    assert eval(last, scope).to_json() == drawn.to_json()


@pytest.mark.parametrize("name", [*PANELS, *PARTS])
def test_an_unfinished_capture_is_drawn_or_refused_in_words(tmp_path: Path, name: str) -> None:
    write_ragged(tmp_path / "grows.h5")
    view = view_of(Desk(tmp_path))
    try:
        shown = (
            PARTS[name].render(view) if name in PARTS else PANELS[name].draw(PANELS[name].measure(view), view)
        )
    except RopediagError as error:
        shown = str(error)
    assert shown


@pytest.mark.parametrize("name", PANELS)
def test_every_colour_of_a_figure_has_one_for_dark_pages(desk: Desk, name: str) -> None:
    view, panel = example(desk, name), PANELS[name]
    figure = panel.draw(panel.measure(view), view)
    assert set(_colours(figure.to_plotly_json())) <= set(DARK)


def _colours(value: object) -> list[str]:
    """Every opaque colour in a figure; greys that are half transparent serve on both pages."""
    if isinstance(value, dict):
        return [colour for one in value.values() for colour in _colours(one)]
    if isinstance(value, list | tuple):
        return [colour for one in value for colour in _colours(one)]
    return [value] if isinstance(value, str) and value.startswith("#") else []
