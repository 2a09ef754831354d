"""Heads: a table of all heads, to sort, filter and take along; a row selects its head."""

from typing import Any
from urllib.parse import urlencode

import dash_mantine_components as dmc
import xarray as xr
from dash import Dash, Input, Output, State, dcc, html, no_update

from ropediag.analysis.drift import measure_drift
from ropediag.analysis.head_table import list_heads, spread_ranks, tabulate_heads
from ropediag.analysis.tables import list_tables
from ropediag.errors import RopediagError

from ..cards import show_fact, show_grid, show_part
from ..failure import word_failure
from ..page import Page, Part
from ..view import Desk, View
from ._grid import GROUPED, NUMBER, WRAPPED, fit_height, format_numbers

NAME = "heads"  # of the table, its store and its CSV
ORDINARY, SHARE, WHOLE = ",.3~g", ".1%", ",d"  # formats of numbers
# Heading -> column of the table -> its heading below that, its width in pixels, its format.
GROUPS: dict[str, dict[str, tuple[str, int, str]]] = {
    "Cost": {"cost": ("Nats", 70, ORDINARY), "cost_pair": ("In pair", 70, WHOLE)},
    "Drift": {
        "drift": ("Largest", 86, ORDINARY),
        "drift_pair": ("In pair", 70, WHOLE),
        "drifting_pairs": ("Pairs that drift", 78, WHOLE),
        "onset": ("From lag", 74, WHOLE),
        "onset_pair": ("First pair", 74, WHOLE),
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
# Thousands of rows travel to the browser, and layer and head are in them already.
ROW_ID = "params.data.layer + '.' + params.data.query_head"
NARROW = {"cellStyle": {"padding": "0 8px"}, "headerStyle": {"padding": "0 8px"}}
NARROW_NUMBER = {**NUMBER, **NARROW}


def list_columns(table: xr.Dataset) -> list[dict[str, Any]]:
    """Describe the columns as ag-grid takes them; what they mean is on their headings."""
    place = [
        {"field": axis, "headerName": name, "width": 68, "pinned": "left", **NARROW_NUMBER}
        for axis, name in (("layer", "Layer"), ("query_head", "Head"))
    ]
    columns: list[dict[str, Any]] = [{"headerName": "", "children": place}]
    for heading, members in _list_groups(table).items():
        children = [
            {
                "field": name,
                "headerName": short,
                "width": width,
                "valueFormatter": format_numbers(form),
                **_explain(table[name]),
                **NARROW_NUMBER,
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


def _list_groups(table: xr.Dataset) -> dict[str, dict[str, tuple[str, int, str]]]:
    """Return the groups of columns, without the cost where it was not measured."""
    measured = bool(table.cost.notnull().any())
    return {heading: members for heading, members in GROUPS.items() if heading != "Cost" or measured}


def _explain(column: xr.DataArray) -> dict[str, str]:
    units = column.attrs["units"]
    return {"headerTooltip": column.attrs["long_name"] + ("" if units == "1" else f", {units}")}


def list_rows(table: xr.Dataset) -> list[dict[str, Any]]:
    """Write the table as rows of the grid; what is not known is left empty."""
    shown = ["layer", "query_head", *(name for members in _list_groups(table).values() for name in members)]
    return [
        {
            **{name: head[name] for name in shown},
            **{name: ", ".join(map(str, head[name])) for name in LISTS},
            "pick": {
                field: str(head[name])
                for field, name in (("layer", "layer"), ("query_head", "query_head"), ("pair", "drift_pair"))
                if head[name] is not None
            },
        }
        for head in list_heads(table)
    ]


def measure_table(view: View) -> xr.Dataset:
    """The table of the selected capture, made once."""
    return view.keep("head_table", lambda: tabulate_heads(view.capture, view.measure(measure_drift)).load())


def _show_selected(view: View) -> Any:
    """Build a summary of the selected head, with a link to its pairs."""
    table = measure_table(view).sel(layer=view.layer, query_head=view.query_head)
    place = {"capture": view.entry.name, **view.place}
    facts = [
        ("Largest drift", table.drift.item(), "in-range std", "{:,.2f}"),
        ("Pairs that drift", table.drifting_pairs.item(), f"of {table.tested_pairs.item():.0f}", "{:,.0f}"),
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
            dcc.Store(id={"type": "need", "panel": NAME}),
            dcc.Download(id="heads-download"),
            show_part(SELECTED),
            html.Div(id="heads-message", role="status"),
            dmc.Group([dmc.Text(note, size="sm", c="dimmed"), export], justify="space-between", mb="xs"),
            dcc.Loading(show_grid(NAME, [], row_id=ROW_ID), delay_show=400),
        ]
    )


def _register(app: Dash, desk: Desk) -> None:
    grid, need_table = {"type": "grid", "panel": NAME}, {"type": "need", "panel": NAME}

    @app.callback(
        Output(grid, "columnDefs"),
        Output(grid, "rowData"),
        Output(grid, "style"),
        Output("heads-message", "children"),
        Input(need_table, "data"),
    )
    def fill(need: dict[str, str] | None) -> tuple[Any, ...]:
        if need is None:
            return (no_update,) * 4
        try:
            table = measure_table(desk.view(need))
        except Exception as error:
            return [], [], {"display": "none"}, word_failure(error)
        rows = list_rows(table)
        return list_columns(table), rows, fit_height(len(rows), GROUPED), None

    @app.callback(
        Output("heads-download", "data"),
        Input("heads-export", "n_clicks"),
        State(need_table, "data"),
        prevent_initial_call=True,
    )
    def export(_: int, need: dict[str, str] | None) -> Any:
        try:
            return export_table(desk.view(need)) if need else no_update
        except RopediagError:  # the page says why there is no table
            return no_update


def export_table(view: View) -> dict[str, Any]:
    """Return the whole table as CSV: names, units and digits are those of the analysis."""
    (table,) = list_tables(spread_ranks(measure_table(view))).values()
    return dcc.send_string(table.to_csv(index=False), f"{NAME}.csv")


PAGE = Page(
    title="Heads",
    path="/heads",
    order=3,
    purpose="How the pairs of each head drift, where it attends, and which pairs its logits can come from.",
    layout=_lay_out,
    parts=(SELECTED,),
    needs={NAME: ("capture",)},
    register=_register,
)
