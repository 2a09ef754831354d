"""Causes: what each ablation of the folder repairs, and the loss under one of them."""

from typing import Any

import dash_mantine_components as dmc
import xarray as xr
from dash import Dash, Input, Output, dcc, html, no_update

from ropediag.analysis.repair_curves import measure_repair_curves
from ropediag.analysis.repair_figures import RepairFigures
from ropediag.analysis.repairs import tabulate_repairs
from ropediag.plots.repair_curves import plot_repair_curves
from ropediag.plots.repairs import plot_repairs

from ..cards import show_choice, show_grid, show_message, show_panel
from ..page import Choice, Page, Panel
from ..view import Desk, View
from ._ablations import reach_panel, read_ablations, write_together
from ._code import open_in_python
from ._grid import NUMBER, ONE_LINE, WRAPPED, fit_height, format_numbers

COMMAND = "ropediag ablate --model demo --len 1024 --pairs past --out captures/past.h5"
SHARE = {**NUMBER, "valueFormatter": format_numbers(".0%")}
UP_TO = {"function": "d3.format('.4~g')(params.value) + ' x'"}
COLUMNS: list[dict[str, Any]] = [
    {"field": "pairs", "headerName": "Pairs", "minWidth": 262, "flex": 2, "tooltipField": "pairs"},
    {"field": "change", "headerName": "Intervention", "minWidth": 190, "flex": 2, "tooltipField": "change"},
    {"field": "model", "headerName": "Model", "width": 90, "tooltipField": "model"},
    {"field": "multiple", "headerName": "Up to", "width": 92, **SHARE, "valueFormatter": UP_TO,
     "headerTooltip": "positions past the trained length, up to so many times it"},
    {"field": "repaired", "headerName": "Repaired", "width": 112, **SHARE},
    {"field": "repaired_low", "headerName": "95 % from", "width": 92, **SHARE, **WRAPPED},
    {"field": "repaired_high", "headerName": "to", "width": 84, **SHARE},
    {"field": "repaired_tail", "headerName": "Last quarter", "width": 96, **SHARE, **WRAPPED},
    {"field": "random_mean", "headerName": "Random pairs", "width": 104, **SHARE, **WRAPPED},
    {"field": "above_random", "headerName": "Above random", "width": 104, **SHARE, **WRAPPED},
]  # fmt: skip


def list_rows(repairs: xr.Dataset) -> list[dict[str, Any]]:
    """Write the repairs as rows, one an ablation and reach."""
    known = repairs.drop_dims("set").stack(row=("ablation", "multiple"))
    known = known.isel(row=known.damage.notnull().values)
    fields = {column["field"]: known[column["field"]].values.tolist() for column in COLUMNS}
    rows = [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]
    for row, name in zip(rows, known.ablation.values.tolist(), strict=True):
        row.update({key: None for key, value in row.items() if value != value})
        row |= {"id": f"{name} {row['multiple']}", "pick": {"ablation": name}}
    return rows


def _name_ablations(view: View) -> dict[str, str]:
    read, _ = read_ablations(view.desk)
    ordered = tabulate_repairs(read).ablation.values.tolist()
    return {name: f"{read[name].pairs}: {read[name].change} ({name})" for name in ordered}


ABLATION = Choice(
    field="ablation",
    label="Ablation",
    options=_name_ablations,
    default=lambda view: next(iter(_name_ablations(view))),
    uses=(),
    width=640,
)


def _measure_curves(view: View) -> xr.Dataset:
    entry = view.desk.entries("ablation")[ABLATION.value(view)]
    return view.desk.keep(entry, "repair_curves", lambda: measure_repair_curves(view.desk.open(entry)).load())


def _write_curves(view: View) -> str:
    opening = open_in_python(
        "from ropediag.analysis.repair_curves import measure_repair_curves\n"
        "from ropediag.plots.repair_curves import plot_repair_curves",
        file=view.desk.entries("ablation")[ABLATION.value(view)].path,
    )
    return f"{opening}plot_repair_curves(measure_repair_curves(file))"


REPAIRS = Panel(
    name="repairs",
    title="What repairs the loss",
    uses=(),
    measure=lambda view: tabulate_repairs(read_ablations(view.desk)[0]),
    draw=lambda measured, view: plot_repairs(measured),
    code=lambda view: write_together(view, "repairs", read_ablations(view.desk)[0]),
    explain=lambda measured: (
        "What share of the damage past the trained length is gone when these pairs do something else. 0 % is "
        "the model as it was, 100 % as good as with no more context than its training length, below 0 % it "
        "does harm. Bars are 95 % intervals over sequences. A click on a row shows its loss by position."
    ),
    height=560,
)
REACH = reach_panel("reach-curves", of_capture=False)
CURVES = Panel(
    name="repair-curves",
    title="The loss under one ablation",
    uses=("ablation",),
    measure=_measure_curves,
    draw=lambda measured, view: plot_repair_curves(measured),
    code=_write_curves,
    explain=lambda measured: (
        f"{measured.attrs['model']}, {measured.attrs['pairs']}: {measured.attrs['change']}. The closer to "
        "the loss in windows, the more of the damage these pairs carry."
    ),
    height=420,
)


def _lay_out() -> html.Div:
    body = [
        show_panel(REPAIRS),
        show_panel(REACH),
        dmc.Group(show_choice(ABLATION), mb="xs"),
        show_panel(CURVES),
        dmc.Title("All figures", order=2, size="h4", mt="lg", mb="xs"),
        show_grid("causes", COLUMNS),
    ]
    return html.Div(
        [
            dcc.Interval(id="causes-tick", interval=5_000),
            html.Div(id="causes-empty", role="status"),
            html.Div(body, id="causes-body", style={"display": "none"}),
        ]
    )


def show_state(read: dict[str, RepairFigures], reasons: list[str]) -> list[Any]:
    """Build the notices of a folder: no ablation yet, and files that cannot be used."""
    advice = [
        "This folder holds no ablation yet. Make one with ",
        dmc.Code(COMMAND),
        ": it lets chosen pairs do something else while the model runs, and measures what that repairs.",
    ]
    empty = [] if read else [dmc.Alert(advice, color="orange", variant="light", mb="md")]
    return [*empty, *(show_message(reason, "red") for reason in reasons[:10])]


def _register(app: Dash, desk: Desk) -> None:
    grid = {"type": "grid", "panel": "causes"}

    @app.callback(
        Output(grid, "rowData"),
        Output(grid, "style"),
        Output("causes-empty", "children"),
        Output("causes-body", "style"),
        Input("causes-tick", "n_intervals"),
    )
    def refresh(_: int | None) -> tuple[Any, ...]:
        read, reasons = read_ablations(desk)
        state = show_state(read, reasons)
        if not read:
            return [], no_update, state, {"display": "none"}
        rows = list_rows(tabulate_repairs(read))
        return rows, fit_height(len(rows), ONE_LINE), state, {}


PAGE = Page(
    title="Causes",
    path="/causes",
    order=8,
    purpose="Which pairs cause the damage: what ropediag ablate repaired, by intervention and by pairs.",
    layout=_lay_out,
    panels=(REPAIRS, REACH, CURVES),
    choices=(ABLATION,),
    register=_register,
    needs_capture=False,
)
