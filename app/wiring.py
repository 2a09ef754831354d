"""The wiring: from the selection to every panel, part and choice, and from clicks back to the URL.

    URL --resolve--> selection --need--> fields of one panel --draw--> figure --dress--> graph
     ^                                                                                    |
     +------------------------------- pick, choose (in the browser) ---------------------+

Only ``resolve`` and ``draw`` run on the server; the rest is ``assets/ropediag.js``.
"""

import io
import zipfile
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import plotly.graph_objects as go
from dash import ALL, MATCH, ClientsideFunction, Dash, Input, Output, State, dcc, no_update

from ropediag.analysis.tables import list_tables
from ropediag.errors import RopediagError

from .cards import show_message
from .frame import PLACE_CONTROLS, list_place_options
from .page import Choice, Page, Panel, Part, name_choice
from .view import PLACE, Desk, View

OFFERING = ("capture", "stamp", "layer")  # what decides which places there are
TITLE = 44  # pixels above a figure that its title takes


def wire(app: Dash, desk: Desk, pages: list[Page]) -> None:
    """Register all callbacks."""
    _wire_selection(app, desk)
    _wire_browser(app)
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
    outputs = [
        output
        for field in PLACE_CONTROLS
        for output in (Output(f"select-{field}", "data"), Output(f"select-{field}", "value"))
    ]

    @app.callback(
        Output("selection", "data"),
        *outputs,
        Input("url", "search"),
        Input("tick", "n_intervals"),
        State("selection", "data"),
    )
    def resolve(search: str | None, _: int, before: dict[str, str] | None) -> list[Any]:
        """Resolve the URL against the folder; nothing changes for those whose fields stay the same."""
        selection, options = resolve_selection(desk, read_query(search))
        if selection == before:
            return [no_update] * (1 + len(outputs))
        found: list[Any] = [selection]
        same_layer = before and all(selection.get(name) == before.get(name) for name in OFFERING)
        for field in PLACE_CONTROLS:
            offered = no_update if same_layer and field != "capture" else options.get(field, [])
            found += [offered, selection.get(field)]
        return found


def resolve_selection(desk: Desk, query: dict[str, str]) -> tuple[dict[str, str], dict[str, list[Any]]]:
    """Fill in capture, layer, query_head and pair, and list what the controls offer.

    ``stamp`` is the state of the selected file: while a capture grows, panels that use ``capture`` follow.
    """
    view = desk.view(query)
    try:
        selection = {**query, "capture": view.entry.name, "stamp": "-".join(map(str, view.entry.stamp))}
        selection |= {axis: str(value) for axis, value in view.place.items()}
    except RopediagError:
        return {**query, "stamp": ""}, list_place_options(view)
    return selection, list_place_options(desk.view(selection))


def _wire_browser(app: Dash) -> None:
    """Register what runs in the browser."""

    def clientside(name: str, *arguments: Any, **options: Any) -> None:
        app.clientside_callback(ClientsideFunction("ropediag", name), *arguments, **options)

    panel = {"panel": MATCH}
    needs = {"type": "need", "panel": ALL}
    clientside(
        "need",
        Output(needs, "data"),
        Input("selection", "data"),
        State(needs, "id"),
        State(needs, "data"),
        State("uses", "data"),
    )
    clientside(
        "dress",
        Output({"type": "graph", **panel}, "figure"),
        Input({"type": "figure", **panel}, "data"),
        Input("scheme", "computedColorScheme"),
        State("selection", "data"),
        State("dark", "data"),
        State({"type": "graph", **panel}, "id"),
    )
    clientside(
        "follow",
        Output("followed", "data"),
        Input("selection", "data"),
        State({"type": "figure", "panel": ALL}, "data"),
        State({"type": "figure", "panel": ALL}, "id"),
        State("dark", "data"),
    )
    url = [Output("url", "pathname", allow_duplicate=True), Output("url", "search", allow_duplicate=True)]
    for name, property in (("pick", "clickData"), ("zoom", "relayoutData")):
        clientside(
            name,
            Output({"type": "graph", **panel}, property),
            Input({"type": "graph", **panel}, property),
            State({"type": "figure", **panel}, "data"),
            State({"type": "figure", **panel}, "id"),
            State("leads", "data"),
            State("url", "pathname"),
            State("url", "search"),
            prevent_initial_call=True,
        )
    clientside(
        "pick_row",
        *url,
        Input({"type": "grid", "panel": ALL}, "selectedRows"),
        State({"type": "leads-grid", "panel": ALL}, "data"),
        State("url", "pathname"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    clientside(
        "choose",
        Output("url", "search", allow_duplicate=True),
        [Input(f"select-{field}", "value") for field in PLACE_CONTROLS],
        Input({"type": "choice", "field": ALL}, "value"),
        State({"type": "choice", "field": ALL}, "id"),
        State({"type": "default", "field": ALL}, "data"),
        State("selection", "data"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    clientside(
        "step",
        Output("url", "search", allow_duplicate=True),
        Input("key", "data"),
        State("selection", "data"),
        [State(f"select-{axis}", "data") for axis in PLACE],
        State("url", "search"),
        prevent_initial_call=True,
    )
    clientside(
        "link",
        Output({"type": "link", "path": ALL}, "active"),
        Input("url", "pathname"),
        State({"type": "link", "path": ALL}, "id"),
    )
    clientside(
        "toggle",
        Output({"type": "code-box", **panel}, "opened"),
        Input({"type": "show-code", **panel}, "n_clicks"),
        State({"type": "code-box", **panel}, "opened"),
        prevent_initial_call=True,
    )
    clientside(
        "copy_link", Output("copy-link", "content"), Input("copy-link", "n_clicks"), State("url", "href")
    )
    clientside(
        "picture",
        Output({"type": "export", "panel": MATCH, "format": "png"}, "disabled"),
        Input({"type": "export", "panel": MATCH, "format": "png"}, "n_clicks"),
        Input({"type": "export", "panel": MATCH, "format": "svg"}, "n_clicks"),
        State({"type": "figure", "panel": MATCH}, "data"),
        State({"type": "graph", "panel": MATCH}, "id"),
        prevent_initial_call=True,
    )


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
        except RopediagError as error:
            return None, show_message(str(error)), None, ""

    @app.callback(
        Output(own("download"), "data"),
        Input({**own("export"), "format": "csv"}, "n_clicks"),
        State(own("need"), "data"),
        prevent_initial_call=True,
    )
    def export(_: int, need: dict[str, str]) -> Any:
        return export_tables(panel, desk.view(need))


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
        except RopediagError:
            return [], None, None


def _or_message(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except RopediagError as error:
        return show_message(str(error))
