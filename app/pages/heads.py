"""Heads: a table of all heads, to sort, filter and take along; a row selects its head."""

import math
from typing import Any
from urllib.parse import urlencode

import dash_mantine_components as dmc
import xarray as xr
from dash import Dash, Input, Output, dcc, html, no_update

from ropediag.analysis.drift import measure_drift
from ropediag.analysis.head_table import tabulate_heads
from ropediag.errors import RopediagError

from ..cards import show_fact, show_grid, show_message, show_part
from ..page import Page, Part
from ..view import Desk, View

ORDINARY = "params.value == null ? '' : d3.format(',.3~g')(params.value)"
SHARE = "params.value == null ? '' : d3.format('.1%')(params.value)"
GROUPS = {  # heading -> column of the table -> its heading below that, its width in pixels, its format
    "Drift": {
        "drift": ("Largest", 86, ORDINARY),
        "drift_pair": ("In pair", 70, ORDINARY),
        "drifting_pairs": ("Pairs that drift", 78, ORDINARY),
        "onset": ("From lag", 74, "params.value == null ? '' : d3.format(',d')(params.value)"),
        "onset_pair": ("First pair", 74, ORDINARY),
        "past_move": ("Slow pairs' logit", 76, ORDINARY),
    },
    "Attention": {
        "entropy_inside": ("Entropy within", 82, ORDINARY),
        "entropy_past": ("Entropy past", 82, ORDINARY),
        "sink_mass_inside": ("Sink within", 74, SHARE),
        "sink_mass_past": ("Sink past", 74, SHARE),
        "near_mass": ("Near mass", 76, SHARE),
        "far_mass": ("Far mass", 76, SHARE),
    },
}
LISTS = {"drift_pairs": "Drift most", "norm_pairs": "Longest"}
DIGITS = 4
HEADER, ROW = 112, 43  # pixels
NARROW = {"cellStyle": {"padding": "0 8px"}, "headerStyle": {"padding": "0 8px"}}
NUMBER = {"filter": "agNumberColumnFilter", "type": "rightAligned", **NARROW}
WRAPPED = {"wrapHeaderText": True, "autoHeaderHeight": True}


def list_columns(table: xr.Dataset) -> list[dict[str, Any]]:
    """Describe the columns as ag-grid takes them; what they mean is on their headings."""
    place = [
        {"field": axis, "headerName": name, "width": 68, "pinned": "left", **NUMBER}
        for axis, name in (("layer", "Layer"), ("query_head", "Head"))
    ]
    columns: list[dict[str, Any]] = [{"headerName": "", "children": place}]
    for heading, members in GROUPS.items():
        children = [
            {
                "field": name,
                "headerName": short,
                "width": width,
                "valueFormatter": {"function": form},
                **_explain(table[name]),
                **NUMBER,
                **WRAPPED,
            }
            for name, (short, width, form) in members.items()
        ]
        columns.append({"headerName": heading, "children": children})
    lists = [
        {"field": name, "headerName": short, "width": 88, **_explain(table[name]), **NARROW, **WRAPPED}
        for name, short in LISTS.items()
    ]
    return [*columns, {"headerName": "Dominant pairs", "children": lists}]


def _explain(column: xr.DataArray) -> dict[str, str]:
    units = column.attrs["units"]
    return {"headerTooltip": column.attrs["long_name"] + ("" if units == "1" else f", {units}")}


def list_rows(table: xr.Dataset) -> list[dict[str, Any]]:
    """Write the table as rows of numbers; what is not known is left empty."""
    layers, heads = table.layer.values.tolist(), table.query_head.values.tolist()
    numbers = {name: table[name].values.tolist() for members in GROUPS.values() for name in members}
    lists = {name: table[name].values.tolist() for name in LISTS}
    rows = []
    for i, layer in enumerate(layers):
        for j, head in enumerate(heads):
            row: dict[str, Any] = {"id": f"{layer}.{head}", "layer": layer, "query_head": head}
            row |= {name: _round(values[i][j]) for name, values in numbers.items()}
            row |= {name: _join(values[i][j]) for name, values in lists.items()}
            pair = {} if row["drift_pair"] is None else {"pair": str(int(row["drift_pair"]))}
            row["pick"] = {"layer": str(layer), "query_head": str(head), **pair}
            rows.append(row)
    return rows


def _round(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _join(pairs: list[float]) -> str:
    return ", ".join(f"{pair:.0f}" for pair in pairs if math.isfinite(pair))


def measure_table(view: View) -> xr.Dataset:
    """The table of the selected capture, made once."""
    return view.keep("head_table", lambda: tabulate_heads(view.capture, view.measure(measure_drift)).load())


def _show_selected(view: View) -> Any:
    """Say what the selected head does, with a link to its pairs."""
    table = measure_table(view).sel(layer=view.layer, query_head=view.query_head)
    place = {"capture": view.entry.name, **view.place}
    facts = [
        ("Largest drift", table.drift.item(), "in-window std", "{:,.2f}"),
        ("Pairs that drift", table.drifting_pairs.item(), f"of {view.capture.sizes['pair']}", "{:,.0f}"),
        ("From lag", table.onset.item(), "tokens", "{:,.0f}"),
        ("First pair that drifts", table.onset_pair.item(), "", "{:,.0f}"),
        ("Weight at lags beyond training", table.far_mass.item(), "", "{:.0%}"),
    ]
    return dmc.Group(
        [
            dmc.Text(f"Layer {view.layer}, head {view.query_head}", fw=600),
            *(show_fact(*fact) for fact in facts),
            dcc.Link(f"See pair {view.pair} of this head", href="/pairs?" + urlencode(place)),
        ],
        gap="xl",
        mb="md",
    )


SELECTED = Part("selected-head", ("capture", "layer", "query_head", "pair"), _show_selected)


def _lay_out() -> html.Div:
    export = dmc.Button("CSV", id="heads-export", size="compact-xs", variant="default")
    note = "Within and past are queries on either side of the trained length. A row selects its head."
    return html.Div(
        [
            dcc.Store(id={"type": "uses", "panel": "heads"}, data=["capture"]),
            dcc.Store(id={"type": "need", "panel": "heads"}),
            show_part(SELECTED),
            html.Div(id="heads-message", role="status"),
            dmc.Group([dmc.Text(note, size="sm", c="dimmed"), export], justify="space-between", mb="xs"),
            dcc.Loading(show_grid("heads", []), delay_show=400),
        ]
    )


def _register(app: Dash, desk: Desk) -> None:
    grid = {"type": "grid", "panel": "heads"}

    @app.callback(
        Output(grid, "columnDefs"),
        Output(grid, "rowData"),
        Output(grid, "style"),
        Output("heads-message", "children"),
        Input({"type": "need", "panel": "heads"}, "data"),
    )
    def fill(need: dict[str, str] | None) -> tuple[Any, ...]:
        if need is None:
            return (no_update,) * 4
        try:
            table = measure_table(desk.view(need))
        except RopediagError as error:
            return [], [], {"display": "none"}, show_message(str(error))
        rows = list_rows(table)
        return list_columns(table), rows, {"height": f"min({HEADER + ROW * len(rows)}px, 70vh)"}, None

    @app.callback(
        Output(grid, "exportDataAsCsv"), Input("heads-export", "n_clicks"), prevent_initial_call=True
    )
    def export(_: int) -> bool:
        return True


PAGE = Page(
    title="Heads",
    path="/heads",
    order=3,
    purpose="How the pairs of each head drift, where it attends, and which pairs its logits can come from.",
    layout=_lay_out,
    parts=(SELECTED,),
    register=_register,
)
