"""Pairs: any diagnostic over heads and pairs, and everything the capture says of the one that is selected."""

import dash_mantine_components as dmc
import plotly.graph_objects as go
import xarray as xr
from dash import html

from ropediag.analysis.diagnostic import Diagnostic, list_diagnostics
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.pair_angles import measure_pair_angles
from ropediag.analysis.pair_profile import measure_pair_lengths, measure_pair_profile
from ropediag.plots.diagnostic import plot_diagnostic
from ropediag.plots.pair_angles import plot_pair_angles
from ropediag.plots.pair_norms import plot_pair_norms
from ropediag.plots.pair_profile import plot_pair_profile

from ..cards import show_choice, show_fact, show_panel, show_part
from ..page import PLACE_FIELDS, Choice, Page, Panel, Part
from ..view import View
from ._variables import list_variables


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
    options=lambda view: list_variables(view.measure(_chosen(view))),
    default=lambda view: view.measure(_chosen(view)).attrs["shows"],
    uses=("capture", "diagnostic"),
    width=360,
)


def _draw_map(measured: xr.Dataset, view: View) -> go.Figure:
    return plot_diagnostic(measured, VARIABLE.value(view), view.capture.critical_pair)


def _write_code(view: View) -> str:
    name = DIAGNOSTIC.value(view)
    return (
        "from ropediag import open_capture\n"
        "from ropediag.analysis.diagnostic import list_diagnostics\n"
        "from ropediag.plots.diagnostic import plot_diagnostic\n"
        f"capture = open_capture({str(view.entry.path)!r})\n"
        f"measured = list_diagnostics()[{name!r}](capture)\n"
        f"plot_diagnostic(measured, {VARIABLE.value(view)!r}, capture.critical_pair)"
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


def _measure_profile(view: View) -> xr.Dataset:
    drift = view.measure(measure_drift)
    return view.keep(
        ("profile", *view.place.values()),
        lambda: measure_pair_profile(view.capture, **view.place, drift=drift),
    )


PROFILE = Panel(
    name="pair-profile",
    title="Its contribution by lag",
    uses=PLACE_FIELDS,
    measure=_measure_profile,
    draw=lambda measured, view: plot_pair_profile(measured),
    code=lambda view: (
        "from ropediag import open_capture\n"
        "from ropediag.analysis.drift import measure_drift\n"
        "from ropediag.analysis.pair_profile import measure_pair_profile\n"
        "from ropediag.plots.pair_profile import plot_pair_profile\n"
        f"capture = open_capture({str(view.entry.path)!r})\n"
        f"profile = measure_pair_profile(capture, {_write_place(view)}, drift=measure_drift(capture))\n"
        "plot_pair_profile(profile)"
    ),
    explain=lambda measured: (
        "Mean and one standard deviation over all query-key pairs at a lag, and the extremes among sampled "
        "queries. The shaded range is that of the means at single lags in training; the onset is the lag "
        "from which the pair stays outside it."
    ),
    height=460,
)
ANGLES = Panel(
    name="pair-angles",
    title="Its angles on the circle",
    uses=("capture", "layer", "pair"),
    measure=lambda view: view.measure(measure_pair_angles, layer=view.layer, pair=view.pair),
    draw=lambda measured, view: plot_pair_angles(measured),
    code=lambda view: (
        "from ropediag import open_capture\n"
        "from ropediag.analysis.pair_angles import measure_pair_angles\n"
        "from ropediag.plots.pair_angles import plot_pair_angles\n"
        f"capture = open_capture({str(view.entry.path)!r})\n"
        f"plot_pair_angles(measure_pair_angles(capture, layer={view.layer}, pair={view.pair}))"
    ),
    explain=lambda measured: (
        "Inner arc: the angles that training showed this pair. Outer arc: those it turns to at this length. "
        "Dots: angles the model applied at sampled positions."
    ),
    height=430,
)
NORMS = Panel(
    name="pair-norms",
    title="Its lengths by position",
    uses=PLACE_FIELDS,
    measure=lambda view: view.measure(measure_pair_lengths, **view.place),
    draw=lambda measured, view: plot_pair_norms(measured),
    code=lambda view: (
        "from ropediag import open_capture\n"
        "from ropediag.analysis.pair_profile import measure_pair_lengths\n"
        "from ropediag.plots.pair_norms import plot_pair_norms\n"
        f"capture = open_capture({str(view.entry.path)!r})\n"
        f"plot_pair_norms(measure_pair_lengths(capture, {_write_place(view)}))"
    ),
    explain=lambda measured: (
        "Root mean square length of this pair's part of the queries and of the keys. Their product bounds "
        "the contribution."
    ),
    height=430,
)

COLOURS = {"drifts": "#b03a06"}  # of the judgements; all others are grey


def _show_pair(view: View) -> list:
    """Name the selected pair, and say in numbers whether it drifts."""
    profile = _measure_profile(view)
    judgement, side = profile.attrs["judgement"], profile.attrs["side"]
    facts = [
        show_fact("Period", profile.period, "tokens"),
        show_fact(
            "Critical pair",
            profile.critical_pair if side else None,
            f": it lies {side} it",
            form="{:.0f}",
        ),
        show_fact("Drift", profile.drift, "in-range std", form="{:.2f}"),
        show_fact("Onset", profile.onset, "tokens"),
    ]
    words = judgement[0].upper() + judgement[1:]
    colour = COLOURS.get(judgement, "gray.7")
    return [
        dmc.Title(
            f"Layer {view.layer}, head {view.query_head}, pair {view.pair}", order=2, size="h3", mb="xs"
        ),
        dmc.Group([dmc.Badge(words, color=colour, size="lg", variant="filled"), *facts], gap="xl", mb="md"),
    ]


PAIR = Part("pair-facts", PLACE_FIELDS, _show_pair)


def _write_place(view: View) -> str:
    return ", ".join(f"{axis}={value}" for axis, value in view.place.items())


def _lay_out() -> html.Div:
    return html.Div(
        [
            dmc.Group([show_choice(DIAGNOSTIC), show_choice(VARIABLE)], mb="md", align="flex-end"),
            show_panel(MAP),
            show_part(PAIR),
            show_panel(PROFILE),
            dmc.SimpleGrid([show_panel(ANGLES), show_panel(NORMS)], cols={"base": 1, "lg": 2}),
        ]
    )


PAGE = Page(
    title="Pairs",
    path="/pairs",
    order=2,
    purpose="Any diagnostic over all heads and pairs. A click on a cell shows that pair by lag and by angle.",
    layout=_lay_out,
    panels=(MAP, PROFILE, ANGLES, NORMS),
    parts=(PAIR,),
    choices=(DIAGNOSTIC, VARIABLE),
    stays=True,
)
