"""The captures that are compared with the selected one: the field ``with`` of the URL and its control."""

from typing import Any
from urllib.parse import urlencode

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update

from ropediag.analysis.breakdown import measure_breakdown
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.verdict import judge_capture
from ropediag.errors import ConfigError, RopediagError

from ..catalog import Entry
from ..view import SEPARATOR, Desk, View
from ..wiring import read_query

FIELD = "with"
CAPTURES = ("capture", FIELD)  # what a figure of all of them depends on
NAME = "compared"  # id of the control
NEEDS: dict[str, tuple[str, ...]] = {NAME: CAPTURES}
FIRST, MOST = 3, 9  # captures chosen where the URL says nothing, and at most
COMPARED = (judge_capture, measure_breakdown, measure_drift)  # what has to be known of a capture


def list_others(view: View) -> list[str]:
    """List the captures of the folder that can be chosen: all but the selected one."""
    return [name for name in view.desk.entries("capture") if name != view.entry.name]


def list_compared(view: View) -> list[str]:
    """Give the chosen captures; where the URL names none of the folder, finished ones of the same length.

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
    return wanted[:MOST] or _suggest(view, others)[:FIRST]


def _suggest(view: View, others: list[str]) -> list[str]:
    """Order captures: finished before growing ones, known training lengths first, then equal lengths."""
    entries = view.desk.entries("capture")
    length = _read(view.entry, "length")

    def judge(name: str) -> tuple[bool, ...]:
        entry = entries[name]
        finished = entry.summary is not None and not entry.summary.missing_layers
        return not finished, not _read(entry, "train_len"), _read(entry, "length") != length

    return sorted(others, key=judge)


def _read(entry: Entry, attribute: str) -> Any:
    return None if entry.summary is None else entry.summary.attributes.get(attribute)


def list_views(view: View) -> dict[str, View]:
    """Give a view of every capture that can be drawn, by what figures call it; the selected one first.

    Raises
    ------
    ConfigError
        If there is none.
    """
    views, _ = sort_captures(view)
    if not views:
        raise ConfigError("None of these captures can be compared; why is said above the table.")
    return views


def sort_captures(view: View) -> tuple[dict[str, View], dict[str, str]]:
    """Part the captures that can be measured from those that cannot.

    Returns
    -------
    name -> view, and name -> reason

    Raises
    ------
    ConfigError
        If the folder holds only one capture.
    """
    views, reasons = {}, {}
    for file in (view.entry.name, *list_compared(view)):
        name, one = file.removesuffix(".h5"), view.of(file)
        try:
            for function in COMPARED:
                one.measure(function)
            views[name] = one
        except RopediagError as error:
            reasons[name] = str(error)
    return views, reasons


def show_compared() -> html.Div:
    """Place the control: several captures of the folder."""
    return html.Div(
        [
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
        return "?" + urlencode({**read_query(search), FIELD: SEPARATOR.join(value)})


def _list_or_none(view: View) -> list[str] | None:
    try:
        return list_compared(view)
    except RopediagError:
        return None
