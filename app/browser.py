"""The browser's part of the wiring: clicks, keys, zooms and controls become a new URL."""

from collections.abc import Callable
from typing import Any

from dash import ALL, MATCH, ClientsideFunction, Dash, Input, Output, State

from .frame import PLACE_CONTROLS
from .view import PLACE

PANEL = {"panel": MATCH}
NEEDS = {"type": "need", "panel": ALL}
STAYS = {"type": "stays", "path": ALL}
FIGURES = {"type": "figure", "panel": ALL}


def wire_browser(app: Dash) -> None:
    """Register the functions of ``assets/ropediag.js``."""

    def clientside(name: str, *arguments: Any, **options: Any) -> None:
        app.clientside_callback(ClientsideFunction("ropediag", name), *arguments, **options)

    _wire_selection(clientside)
    _wire_figures(clientside)
    _wire_clicks(clientside)
    _wire_controls(clientside)
    _wire_buttons(clientside)


def _wire_selection(clientside: Callable[..., None]) -> None:
    """From the URL to the selection, and to the fields of each panel."""
    clientside(
        "locate",
        Output("selection", "data"),
        Output("asked", "data"),
        Output("notice", "children"),
        [Output(f"select-{axis}", "value") for axis in PLACE],
        Input("url", "search"),
        State("selection", "data"),
        State("first", "data"),
        [State(f"select-{axis}", "data") for axis in PLACE],
    )
    clientside(
        "need",
        Output(NEEDS, "data"),
        Input("selection", "data"),
        Input("url", "pathname"),
        State(NEEDS, "id"),
        State(NEEDS, "data"),
        State("uses", "data"),
        State("homes", "data"),
    )


def _wire_figures(clientside: Callable[..., None]) -> None:
    """Which page is seen, how its figures look, and what they mark."""
    clientside("show", Output(STAYS, "hidden"), Input("url", "pathname"), State(STAYS, "id"))
    clientside(
        "dress",
        Output({"type": "graph", **PANEL}, "figure"),
        Input({"type": "figure", **PANEL}, "data"),
        Input("scheme", "computedColorScheme"),
        State("selection", "data"),
        State("dark", "data"),
        State({"type": "graph", **PANEL}, "id"),
    )
    clientside(
        "follow",
        Output("followed", "data"),
        Input("selection", "data"),
        Input("url", "pathname"),
        State("homes", "data"),
        State(FIGURES, "data"),
        State(FIGURES, "id"),
        State("dark", "data"),
        [State(f"select-{axis}", "data") for axis in PLACE],
    )


def _wire_clicks(clientside: Callable[..., None]) -> None:
    """From clicks and zooms on figures, and rows of tables, to the URL."""
    url = [Output("url", "pathname", allow_duplicate=True), Output("url", "search", allow_duplicate=True)]
    for name, property in (("pick", "clickData"), ("zoom", "relayoutData")):
        clientside(
            name,
            Output({"type": "graph", **PANEL}, property),
            Input({"type": "graph", **PANEL}, property),
            State({"type": "figure", **PANEL}, "data"),
            State({"type": "figure", **PANEL}, "id"),
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


def _wire_controls(clientside: Callable[..., None]) -> None:
    """From the controls to the URL."""
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


def _wire_buttons(clientside: Callable[..., None]) -> None:
    """The navigation, and the buttons of figures and of the header."""
    clientside(
        "link",
        Output({"type": "link", "path": ALL}, "active"),
        Input("url", "pathname"),
        State({"type": "link", "path": ALL}, "id"),
    )
    clientside(
        "toggle",
        Output({"type": "code-box", **PANEL}, "opened"),
        Input({"type": "show-code", **PANEL}, "n_clicks"),
        State({"type": "code-box", **PANEL}, "opened"),
        prevent_initial_call=True,
    )
    for place, what in (
        ("copy-link", State("url", "pathname")),
        ({"type": "copy-code", **PANEL}, State({"type": "code", **PANEL}, "children")),
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
