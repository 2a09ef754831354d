"""The browser's part of the wiring: clicks, keys, zooms and controls become a new URL."""

from typing import Any

from dash import ALL, MATCH, ClientsideFunction, Dash, Input, Output, State

from .frame import PLACE_CONTROLS
from .view import PLACE


def wire_browser(app: Dash) -> None:
    """Register the functions of ``assets/ropediag.js``."""

    def clientside(name: str, *arguments: Any, **options: Any) -> None:
        app.clientside_callback(ClientsideFunction("ropediag", name), *arguments, **options)

    panel = {"panel": MATCH}
    clientside(
        "locate",
        Output("selection", "data"),
        Output("asked", "data"),
        [Output(f"select-{axis}", "value") for axis in PLACE],
        Input("url", "search"),
        State("selection", "data"),
        [State(f"select-{axis}", "data") for axis in PLACE],
    )
    needs = {"type": "need", "panel": ALL}
    clientside(
        "need",
        Output(needs, "data"),
        Input("selection", "data"),
        Input("url", "pathname"),
        State(needs, "id"),
        State(needs, "data"),
        State("uses", "data"),
        State("homes", "data"),
    )
    stays = {"type": "stays", "path": ALL}
    clientside("show", Output(stays, "hidden"), Input("url", "pathname"), State(stays, "id"))
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
        Input("url", "pathname"),
        State("homes", "data"),
        State({"type": "figure", "panel": ALL}, "data"),
        State({"type": "figure", "panel": ALL}, "id"),
        State("dark", "data"),
        [State(f"select-{axis}", "data") for axis in PLACE],
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
        State({"type": "choice", "field": ALL}, "data"),
        State({"type": "default", "field": ALL}, "data"),
        State("homes", "data"),
        State("url", "pathname"),
        State("selection", "data"),
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
    for place, what in (
        ("copy-link", State("url", "pathname")),
        ({"type": "copy-code", **panel}, State({"type": "code", **panel}, "children")),
    ):
        clientside(
            "copy_link" if place == "copy-link" else "copy_code",
            Output(place, "children"),
            Input(place, "n_clicks"),
            what,
            State(place, "id"),
            prevent_initial_call=True,
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
