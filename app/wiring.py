"""The wiring: from the selection to every panel, part and choice, and from clicks back to the URL.

    URL --resolve--> selection --need--> fields of one panel --draw--> figure --dress--> graph
     ^                                                                                    |
     +------------------------------- pick, choose (in the browser) ---------------------+

``resolve``, ``draw`` and what fills parts and choices run on the server, the rest in the browser
(``assets/ropediag.js``), which also resolves what lies in the capture that it shows (``locate``).
"""

import io
import logging
import zipfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

import plotly.graph_objects as go
from dash import Dash, Input, Output, State, dcc, no_update

from ropediag.analysis.tables import list_tables
from ropediag.errors import RopediagError

from .browser import wire_browser
from .cards import show_message
from .frame import PLACE_CONTROLS, list_place_options
from .page import Choice, Page, Panel, Part, name_choice
from .view import PLACE, Desk, View

TITLE = 44  # pixels above a figure that its title takes


def wire(app: Dash, desk: Desk, pages: list[Page]) -> None:
    """Register all callbacks."""
    _wire_selection(app, desk)
    wire_browser(app)
    for page in pages:
        for panel in page.panels:
            _wire_panel(app, desk, panel)
        for part in page.parts:
            _wire_part(app, desk, part)
        for choice in page.choices:
            _wire_choice(app, desk, choice)
        if page.register:
            page.register(app, desk)


def read_query(search: str | None) -> dict[str, str]:
    """Read the fields of a URL's query; of a field given twice, the last."""
    return dict(parse_qsl((search or "").removeprefix("?")))


def _wire_selection(app: Dash, desk: Desk) -> None:
    """Resolve what the browser cannot: it knows the places of the capture that it shows (``locate``)."""
    controls = [Output(f"select-{field}", name) for field in PLACE_CONTROLS for name in ("data", "value")]

    @app.callback(
        Output("selection", "data", allow_duplicate=True),
        Output("notice", "children", allow_duplicate=True),
        Output("first", "data"),
        *(Output(one.component_id, one.component_property, allow_duplicate=True) for one in controls),
        Input("asked", "data"),
        Input("tick", "n_intervals"),
        State("url", "search"),
        State("selection", "data"),
        State("first", "data"),
        State("select-capture", "data"),
        prevent_initial_call="initial_duplicate",
    )
    def resolve(
        _: Any,
        __: int,
        search: str | None,
        before: dict[str, str] | None,
        first: str | None,
        offered: list[dict[str, str]] | None,
    ) -> list[Any]:
        """Resolve the URL; one that names no capture means the first that was shown, whatever came since."""
        query = read_query(search)
        if "capture" not in query and first in desk.entries("capture"):
            query["capture"] = str(first)
        selection, options = resolve_selection(desk, query)
        captures = no_update if options["capture"] == offered else options["capture"]
        if selection == before:
            return [no_update] * 3 + [captures] + [no_update] * (len(controls) - 1)
        found: list[Any] = [selection, word_notice(query, selection), first or selection.get("capture")]
        for field in PLACE_CONTROLS:
            found += [captures if field == "capture" else options.get(field, []), selection.get(field)]
        return found


def resolve_selection(desk: Desk, query: dict[str, str]) -> tuple[dict[str, str], dict[str, list[Any]]]:
    """Fill in capture, layer, query_head and pair, and list what the controls offer.

    ``stamp`` is the state of the selected file: while a capture grows, panels that use ``capture`` follow.
    """
    view = desk.view(query)
    rest = {name: value for name, value in query.items() if name not in PLACE}
    try:
        selection = {**rest, "capture": view.entry.name, "stamp": "-".join(map(str, view.entry.stamp))}
    except RopediagError:  # an empty folder
        return {**rest, "stamp": ""}, list_place_options(view)
    with suppress(RopediagError):
        selection |= {axis: str(value) for axis, value in view.place.items()}
    return selection, list_place_options(desk.view(selection))


def word_notice(query: dict[str, str], selection: dict[str, str]) -> Any:
    """Say which fields of the URL name nothing here, and what is shown in their place."""
    capture = selection.get("capture")
    if query.get("capture") not in (None, "", capture):
        return show_message(f"{query['capture']} is not in this folder. Shown is {capture}.")
    absent = [axis for axis in PLACE if query.get(axis) and selection.get(axis) not in (None, query[axis])]
    if not absent:
        return None
    said = " and ".join(f"{axis.replace('query_', '')} {query[axis]}" for axis in absent)
    shown = ", ".join(f"{axis.replace('query_', '')} {selection[axis]}" for axis in PLACE)
    return show_message(f"{capture} has no {said}. Shown is {shown}.")


def _wire_panel(app: Dash, desk: Desk, panel: Panel) -> None:
    def own(kind: str) -> dict[str, str]:
        return {"type": kind, "panel": panel.name}

    @app.callback(
        Output(own("figure"), "data"),
        Output(own("message"), "children"),
        Output(own("explain"), "children"),
        Output(own("code"), "children"),
        Input(own("need"), "data"),
    )
    def draw(need: dict[str, str] | None) -> tuple[Any, ...]:
        if need is None:
            return (no_update,) * 4
        view = desk.view(need)
        try:
            measured = panel.measure(view)
            return fit(panel.draw(measured, view)), None, panel.explain(measured), panel.code(view)
        except Exception as error:
            return None, word_failure(error), None, ""

    @app.callback(
        Output(own("download"), "data"),
        Input({**own("export"), "format": "csv"}, "n_clicks"),
        State(own("need"), "data"),
        prevent_initial_call=True,
    )
    def export(_: int, need: dict[str, str] | None) -> Any:
        try:
            return no_update if need is None else export_tables(panel, desk.view(need))
        except RopediagError:  # the panel says why it has no numbers
            return no_update


def fit(figure: go.Figure) -> go.Figure:
    """Let a figure take the size of its card, which has the title, not the room for another title."""
    titled = bool(figure.layout.title.text)
    top = figure.layout.margin.t
    figure.update_layout(width=None, height=None, autosize=True, title=None)
    return figure.update_layout(margin_t=max(20, top - TITLE)) if titled and top else figure


def export_tables(panel: Panel, view: View) -> dict[str, Any]:
    """Give the numbers of a panel as one CSV, or as a ZIP of several where they have different axes."""
    tables = list_tables(panel.measure(view))
    if len(tables) == 1:
        return dcc.send_string(next(iter(tables.values())).to_csv(index=False), f"{panel.name}.csv")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for axes, table in tables.items():
            archive.writestr(f"{'-'.join([panel.name, *axes])}.csv", table.to_csv(index=False))
    return dcc.send_bytes(packed.getvalue(), f"{panel.name}.zip")


def _wire_part(app: Dash, desk: Desk, part: Part) -> None:
    @app.callback(
        Output({"type": "part", "panel": part.name}, "children"),
        Input({"type": "need", "panel": part.name}, "data"),
    )
    def render(need: dict[str, str] | None) -> Any:
        return no_update if need is None else _or_message(lambda: part.render(desk.view(need)))


def _wire_choice(app: Dash, desk: Desk, choice: Choice) -> None:
    name = {"type": "choice", "field": choice.field}

    @app.callback(
        Output(name, "data"),
        Output({"type": "default", "field": choice.field}, "data"),
        Output(name, "value"),
        Input({"type": "need", "panel": name_choice(choice.field)}, "data"),
    )
    def fill(need: dict[str, str] | None) -> tuple[Any, Any, Any]:
        if need is None:
            return (no_update,) * 3
        view = desk.view(need)
        try:
            data = [{"value": key, "label": label} for key, label in choice.options(view).items()]
            return data, choice.default(view), choice.value(view)
        except Exception as error:
            word_failure(error)
            return [], None, None


def _or_message(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:
        return word_failure(error)


def word_failure(error: Exception) -> Any:
    """Say what a reader can mend; anything else is a fault of ropediag, and the terminal has its details.

    A failed callback would leave what was there before, under the name of what was asked for now.
    """
    if isinstance(error, RopediagError):
        return show_message(str(error))
    logging.getLogger(__name__).error("a part of the page failed", exc_info=error)
    return show_message(
        f"This failed with {type(error).__name__}, a fault of ropediag. The terminal has the details.",
        "red",
    )
