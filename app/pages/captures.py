"""Captures: what the folder holds, finished and growing, and what cannot be read."""

import hashlib
import math
import time
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html
from dash.exceptions import PreventUpdate

from ropediag.schema import ATTRIBUTES

from ..cards import show_grid, show_part
from ..catalog import Entry
from ..page import Page, Part
from ..view import Desk, View
from ._grid import NUMBER, TWO_LINES, fit_height, format_numbers

COMMAS = {**NUMBER, "valueFormatter": format_numbers(",")}
COLUMNS: list[dict[str, Any]] = [
    {"field": "name", "headerName": "File", "minWidth": 190, "flex": 2, "tooltipField": "name"},
    {"field": "kind", "headerName": "Kind", "width": 115},
    {
        "field": "state",
        "headerName": "State",
        "minWidth": 210,
        "flex": 3,
        "wrapText": True,
        "autoHeight": True,
    },
    {"field": "model", "headerName": "Model", "minWidth": 110, "flex": 1, "tooltipField": "model"},
    {"field": "length", "headerName": "Tokens", "width": 105, **COMMAS},
    {"field": "train_len", "headerName": "Trained", "width": 105, **COMMAS},
    {"field": "tune_len", "headerName": "Tuned", "width": 100, **COMMAS},
    {"field": "base", "headerName": "Base", "width": 120, **COMMAS},
    {"field": "shape", "headerName": "Shape", "width": 115, "headerTooltip": "layers x heads x pairs"},
    {"field": "size", "headerName": "MiB", "width": 85, **NUMBER},
]
LISTED = 20  # unreadable files that are named


def list_rows(desk: Desk) -> list[dict[str, Any]]:
    """Describe every file that can be read, or will be, in one row; the newest first."""
    entries = [entry for entry in desk.catalog.scan().values() if not entry.reason]
    return [_describe(entry) for entry in sorted(entries, key=lambda entry: entry.stamp[0], reverse=True)]


def _describe(entry: Entry) -> dict[str, Any]:
    if entry.summary is None:
        return {"id": entry.name, "name": entry.name, "state": "not read yet"}
    attributes, sizes = entry.summary.attributes, entry.summary.sizes
    row: dict[str, Any] = {"id": entry.name, "name": entry.name, "kind": entry.kind}
    row |= {name: attributes.get(name) or None for name in ("model", "length", "train_len", "tune_len")}
    axes = [sizes.get(axis) for axis in ("layer", "query_head", "pair")]
    row["shape"] = " x ".join(map(str, axes)) if all(axes) else ""
    base = float(attributes.get("base") or "nan")
    row |= {
        "base": None if math.isnan(base) else base,
        "size": round(entry.summary.size / 2**20, 1),
        "state": word_state(entry),
    }
    return row | ({"pick": {"capture": entry.name}} if entry.kind == "capture" else {})


def show_unreadable(desk: Desk) -> Any:
    """Name the files that cannot be read, each with its reason."""
    entries = [entry for entry in desk.catalog.scan().values() if entry.reason]
    if not entries:
        return None
    lines = [dmc.ListItem(entry.reason) for entry in entries[:LISTED]]
    rest = [dmc.ListItem(f"and {len(entries) - LISTED} more")] if len(entries) > LISTED else []
    return dmc.Alert(
        dmc.List([*lines, *rest], size="sm"),
        title="Files that cannot be read",
        color="red",
        variant="light",
        mt="md",
    )


def word_state(entry: Entry) -> str:
    """Say how far a file has come."""
    if entry.summary is None or not entry.is_partial:
        return "complete"
    sizes, missing = entry.summary.sizes, len(entry.summary.missing_layers)
    total = sizes.get("sequence", 0) * sizes.get("layer", 0)
    ago = max(0.0, time.time() - entry.stamp[0] / 1e9)
    return f"{total - missing} of {total} layers, the last {_word_age(ago)} ago"


def _word_age(seconds: float) -> str:
    for name, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds:.0f} s"


def _show_metadata(view: View) -> Any:
    """Show everything that the file says of its run."""
    summary = view.entry.summary
    attributes = {} if summary is None else summary.attributes
    rows = [
        dmc.TableTr([dmc.TableTh(name), dmc.TableTd(str(attributes[name])), dmc.TableTd(meaning, c="dimmed")])
        for name, meaning in ATTRIBUTES.items()
        if name in attributes
    ]
    return dmc.TableScrollContainer(dmc.Table(dmc.TableTbody(rows), className="metadata"), minWidth=700)


METADATA = Part("metadata", ("capture",), _show_metadata)


def _lay_out() -> html.Div:
    return html.Div(
        [
            html.Div(id="captures-empty", role="status"),
            show_grid("captures", COLUMNS, leads_to="/"),
            html.Div(id="captures-unreadable"),
            dmc.Title("The selected capture", order=2, size="h4", mt="lg", mb="xs"),
            show_part(METADATA),
            dcc.Store(id="captures-seen"),
            dcc.Interval(id="captures-tick", interval=2_000),
        ]
    )


def _register(app: Dash, desk: Desk) -> None:
    grid = {"type": "grid", "panel": "captures"}

    @app.callback(
        Output(grid, "rowData"),
        Output(grid, "style"),
        Output("captures-empty", "children"),
        Output("captures-unreadable", "children"),
        Output("captures-seen", "data"),
        Input("captures-tick", "n_intervals"),
        State("captures-seen", "data"),
    )
    def refresh(_: int | None, seen: str | None) -> tuple[Any, ...]:
        rows, unreadable = list_rows(desk), show_unreadable(desk)
        now = hashlib.sha256(f"{rows} {unreadable}".encode()).hexdigest()
        if now == seen:
            raise PreventUpdate
        advice = [
            "This folder holds no capture yet. Make one with ",
            dmc.Code("ropediag capture --model demo --len 8192"),
            " or start ropediag dash on another folder.",
        ]
        empty = None if rows else dmc.Alert(advice, color="orange", variant="light", mb="md")
        return rows, fit_height(len(rows), TWO_LINES), empty, unreadable, now


PAGE = Page(
    title="Captures",
    path="/captures",
    order=9,
    purpose="What the folder holds: finished captures, those that still grow, and files that cannot be read.",
    layout=_lay_out,
    parts=(METADATA,),
    register=_register,
    needs_capture=False,
)
