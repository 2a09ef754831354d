"""Pairs: any diagnostic over heads and pairs, and everything the capture says of the one that is selected."""

import dash_mantine_components as dmc
import plotly.graph_objects as go
import xarray as xr
from dash import html

from ropediag.analysis.diagnostic import Diagnostic, list_diagnostics
from ropediag.plots.diagnostic import plot_diagnostic

from ..cards import show_choice, show_panel
from ..page import Choice, Page, Panel
from ..view import View


def _list_variables(view: View) -> dict[str, str]:
    """List what can be drawn of the chosen diagnostic: its arrays, the one it shows first."""
    measured = view.measure(_chosen(view))
    names = [
        str(name)
        for name, values in measured.data_vars.items()
        if values.ndim and values.dtype.kind in "iufb"
    ]
    shown = measured.attrs["shows"]
    return {name: _describe(measured[name]) for name in sorted(names, key=lambda name: name != shown)}


def _describe(values: xr.DataArray) -> str:
    name = str(values.name).replace("_", " ")
    return f"{name}: {values.attrs.get('long_name', '')}"


def _chosen(view: View) -> Diagnostic:
    return list_diagnostics()[DIAGNOSTIC.value(view)]


DIAGNOSTIC = Choice(
    field="diagnostic",
    label="Diagnostic",
    options=lambda view: {name: found.question for name, found in list_diagnostics().items()},
    default=lambda view: "drift",
    width=560,
)
VARIABLE = Choice(
    field="variable",
    label="What of it",
    options=_list_variables,
    default=lambda view: view.measure(_chosen(view)).attrs["shows"],
    uses=("capture", "diagnostic"),
    width=360,
)


def _draw_map(measured: xr.Dataset, view: View) -> go.Figure:
    return plot_diagnostic(measured, VARIABLE.value(view), view.capture["rope/critical_pair"].load())


def _write_code(view: View) -> str:
    name = DIAGNOSTIC.value(view)
    return (
        "from ropediag import open_capture\n"
        "from ropediag.analysis.diagnostic import list_diagnostics\n"
        "from ropediag.plots.diagnostic import plot_diagnostic\n"
        f"measured = list_diagnostics()[{name!r}](open_capture({str(view.entry.path)!r}))\n"
        f"plot_diagnostic(measured, {VARIABLE.value(view)!r})"
    )


MAP = Panel(
    name="pair-map",
    title="The whole model",
    uses=("capture", "diagnostic", "variable"),
    measure=lambda view: view.measure(_chosen(view)),
    draw=_draw_map,
    code=_write_code,
    explain=lambda measured: (
        f"{measured.attrs['question']} High: {measured.attrs['high']}. "
        f"Interval: {measured.attrs['interval']}. "
        f"Source: {measured.attrs['source']}."
    ),
    height=480,
)


def _lay_out() -> html.Div:
    return html.Div(
        [
            dmc.Group([show_choice(DIAGNOSTIC), show_choice(VARIABLE)], mb="md", align="flex-end"),
            show_panel(MAP),
        ]
    )


PAGE = Page(
    title="Pairs",
    path="/pairs",
    order=2,
    purpose="Any diagnostic over all heads and pairs. A click on a cell shows that pair by lag and by angle.",
    layout=_lay_out,
    panels=(MAP,),
    choices=(DIAGNOSTIC, VARIABLE),
)
