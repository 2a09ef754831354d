"""The browser's part of the wiring: the URL becomes a selection, controls and rows of tables a new URL."""

from collections.abc import Callable
from typing import Any

from dash import ALL, ClientsideFunction, Dash, Input, Output, State

from .frame import PLACE_CONTROLS
from .view import PLACE

NEEDS = {"type": "need", "panel": ALL}
STAYS = {"type": "stays", "path": ALL}


def wire_browser(app: Dash) -> None:
    """Register the functions of ``assets/ropediag.js``."""

    def clientside(name: str, *arguments: Any, **options: Any) -> None:
        app.clientside_callback(ClientsideFunction("ropediag", name), *arguments, **options)

    _wire_selection(clientside)
    _wire_controls(clientside)


def _wire_selection(clientside: Callable[..., None]) -> None:
    """From the URL to the selection, to the fields of each panel, and to the page that is seen."""
    clientside(
        "locate",
        Output("selection", "data"),
        Output("asked", "data"),
        Output("notice", "children"),
        [Output(f"select-{axis}", "value") for axis in PLACE],
        Input("url", "search"),
        State("selection", "data"),
    )
    clientside(
        "need",
        Output(NEEDS, "data"),
        Input("selection", "data"),
        Input("url", "pathname"),
        State(NEEDS, "id"),
        State(NEEDS, "data"),
        State("first", "data"),
        State("plan", "data"),
        [State(f"select-{axis}", "data") for axis in PLACE],
    )
    clientside("show", Output(STAYS, "hidden"), Input("url", "pathname"), State(STAYS, "id"))
    clientside(
        "link",
        Output({"type": "link", "path": ALL}, "active"),
        Input("url", "pathname"),
        State({"type": "link", "path": ALL}, "id"),
    )


def _wire_controls(clientside: Callable[..., None]) -> None:
    """From the controls and the rows of tables to the URL."""
    clientside(
        "pick_row",
        Output("url", "pathname", allow_duplicate=True),
        Output("url", "search", allow_duplicate=True),
        Input({"type": "grid", "panel": ALL}, "selectedRows"),
        State({"type": "leads-grid", "panel": ALL}, "data"),
        State("url", "pathname"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    clientside(
        "choose",
        Output("url", "search", allow_duplicate=True),
        *(Input(f"select-{field}", "value") for field in PLACE_CONTROLS),
        Input({"type": "choice", "field": ALL}, "value"),
        State({"type": "choice", "field": ALL}, "id"),
        State("url", "pathname"),
        State("selection", "data"),
        State("url", "search"),
        prevent_initial_call=True,
    )
