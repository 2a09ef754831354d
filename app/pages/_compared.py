"""The captures that are compared with the selected one: the field ``with`` of the URL and its control."""

from typing import Any
from urllib.parse import parse_qsl, urlencode

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update

from ropediag.errors import ConfigError, RopediagError

from ..view import Desk, View

FIELD, SEPARATOR = "with", ","
CAPTURES = ("capture", FIELD)  # what a figure of all of them depends on
NAME = "compared"  # id of the control
FIRST, MOST = 3, 9  # captures chosen where the URL says nothing, and at most


def list_others(view: View) -> list[str]:
    """List the captures of the folder that can be chosen: all but the selected one."""
    return [name for name in view.desk.entries("capture") if name != view.entry.name]


def list_compared(view: View) -> list[str]:
    """Give the chosen captures; where the URL names none of the folder, those of the selected one's length.

    Raises
    ------
    ConfigError
        If the folder holds only one capture.
    """
    others = list_others(view)
    if not others:
        raise ConfigError(
            f"{view.desk.catalog.folder.name}/ holds one capture only. Capture another model, base or length "
            "into it, for example: ropediag capture --model demo --len 4096"
        )
    wanted = [name for name in view.get(FIELD).split(SEPARATOR) if name in others]
    return (
        wanted[:MOST]
        or sorted(others, key=lambda name: _read_length(view, name) != _read_length(view))[:FIRST]
    )


def list_views(view: View) -> dict[str, View]:
    """Give a view of every capture to be drawn, by what figures call it; the selected one first."""
    names = [view.entry.name, *list_compared(view)]
    return {name.removesuffix(".h5"): view.of(name) for name in names}


def _read_length(view: View, name: str | None = None) -> Any:
    entry = view.entry if name is None else view.desk.entries("capture")[name]
    return None if entry.summary is None else entry.summary.attributes.get("length")


def show_compared() -> html.Div:
    """Place the control: several captures of the folder."""
    return html.Div(
        [
            dcc.Store(id={"type": "uses", "panel": NAME}, data=list(CAPTURES)),
            dcc.Store(id={"type": "need", "panel": NAME}),
            dmc.MultiSelect(
                id=NAME,
                label="Compare the selected capture with",
                searchable=True,
                hidePickedOptions=True,
                maxValues=MOST,
                size="xs",
                debounce=False,
                comboboxProps={"zIndex": 400},
            ),
        ]
    )


def register_compared(app: Dash, desk: Desk) -> None:
    """Fill the control from the URL, and write into the URL what is chosen in it."""

    @app.callback(
        Output(NAME, "data"),
        Output(NAME, "value"),
        Input({"type": "need", "panel": NAME}, "data"),
    )
    def fill(need: dict[str, str] | None) -> tuple[Any, Any]:
        if need is None:
            return no_update, no_update
        view = desk.view(need)
        try:
            return list_others(view), list_compared(view)
        except RopediagError:
            return [], []

    @app.callback(
        Output("url", "search", allow_duplicate=True),
        Input(NAME, "value"),
        State({"type": "need", "panel": NAME}, "data"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    def choose(value: list[str] | None, need: dict[str, str] | None, search: str | None) -> Any:
        if need is None or not value or value == _list_or_none(desk.view(need)):
            return no_update
        fields = dict(parse_qsl((search or "").removeprefix("?")))
        return "?" + urlencode({**fields, FIELD: SEPARATOR.join(value)})


def _list_or_none(view: View) -> list[str] | None:
    try:
        return list_compared(view)
    except RopediagError:
        return None
