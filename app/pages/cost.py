"""Cost: what the unseen angles of a model cost, by attribution: which head, which pair, and what is left."""

from typing import Any

import dash_mantine_components as dmc
import xarray as xr
from dash import Dash, Input, Output, State, dcc, html, no_update

from ropediag.analysis.attribution import measure_attribution, word_attribution
from ropediag.errors import ConfigError
from ropediag.plots.attribution import plot_cost_by_head, plot_cost_waterfall

from ..cards import show_choice, show_panel, show_part
from ..page import Choice, Page, Panel, Part
from ..view import Desk, View
from ._code import open_in_python

COMMAND = "ropediag attribute --model demo --len 512 --out captures/my-demo-8192-attribution.h5"


def _name_attributions(view: View) -> dict[str, str]:
    return {name: name for name in view.desk.entries("attribution")}


ATTRIBUTION = Choice(
    field="attribution",
    label="Attribution",
    options=_name_attributions,
    default=lambda view: next(iter(_name_attributions(view)), ""),
    uses=(),
    width=480,
)


def _measure(view: View) -> xr.Dataset:
    if not _name_attributions(view):
        raise ConfigError(f"there is no attribution. Make one: {COMMAND}.")
    entry = view.desk.entries("attribution")[ATTRIBUTION.value(view)]
    return view.desk.keep(entry, "attribution", lambda: measure_attribution(view.desk.open(entry)).load())


def _write(view: View, function: str) -> str:
    opening = open_in_python(
        "from ropediag.analysis.attribution import measure_attribution\n"
        f"from ropediag.plots.attribution import {function}",
        file=view.desk.entries("attribution")[ATTRIBUTION.value(view)].path,
    )
    return f"{opening}{function}(measure_attribution(file))"


WATERFALL = Panel(
    name="cost-waterfall",
    title="From the loss in windows to the loss as it is",
    uses=("attribution",),
    measure=_measure,
    draw=lambda measured, view: plot_cost_waterfall(measured),
    code=lambda view: _write(view, "plot_cost_waterfall"),
    explain=lambda measured: (
        "Other causes are what remains where no pair turns beyond its limit. The bars of the pairs add up to "
        "the loss as it is, but for what the integral misses."
    ),
    height=460,
)
BY_HEAD = Panel(
    name="cost-by-head",
    title="Which heads pay: nats by layer and head",
    uses=("attribution",),
    measure=_measure,
    draw=lambda measured, view: plot_cost_by_head(measured),
    code=lambda view: _write(view, "plot_cost_by_head"),
    explain=lambda measured: (
        "The cost of unseen angles in each head; the number in a cell is the pair that costs most there."
    ),
    height=420,
)


def _show_words(view: View) -> list:
    return [dmc.Text(" ".join(word_attribution(_measure(view))), className="verdict", mb="sm")]


WORDS = Part("cost-words", ("attribution",), _show_words)


def _lay_out() -> html.Div:
    return html.Div(
        [
            dcc.Interval(id="cost-tick", interval=5_000),
            dcc.Store(id="cost-known"),
            html.Div(id="cost-body", role="status"),
        ]
    )


def _register(app: Dash, desk: Desk) -> None:
    @app.callback(
        Output("cost-body", "children"),
        Output("cost-known", "data"),
        Input("cost-tick", "n_intervals"),
        State("cost-known", "data"),
    )
    def refresh(_: int | None, known: bool | None) -> tuple[Any, Any]:
        there = bool(desk.entries("attribution"))
        if there == known:
            return no_update, no_update
        if there:
            choice = dmc.Group(show_choice(ATTRIBUTION), mb="xs")
            return [choice, show_part(WORDS), show_panel(WATERFALL), show_panel(BY_HEAD)], True
        advice = ["This folder holds no attribution yet. Make one with ", dmc.Code(COMMAND), "."]
        return dmc.Alert(advice, color="orange", variant="light", mb="md"), False


PAGE = Page(
    title="Cost",
    path="/cost",
    order=7,
    purpose="What unseen angles cost, in nats: which heads and pairs pay, and what has other causes.",
    layout=_lay_out,
    panels=(WATERFALL, BY_HEAD),
    parts=(WORDS,),
    choices=(ATTRIBUTION,),
    register=_register,
    needs_capture=False,
)
