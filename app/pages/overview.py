"""The overview: does the model break, where, in which pairs, and what did theory say?"""

import dash_mantine_components as dmc
import plotly.graph_objects as go
import xarray as xr
from dash import html

from ropediag.analysis.breakdown import measure_breakdown
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.verdict import Verdict, judge_capture
from ropediag.plots.breakdown import plot_breakdown
from ropediag.plots.diagnostic import plot_diagnostic

from ..cards import show_fact, show_message, show_panel, show_part
from ..page import Page, Panel, Part
from ..view import View


def _show_verdict(view: View) -> list:
    verdict = view.measure(judge_capture)
    headline, colour = _word_headline(verdict)
    facts = [
        ("Trained at", verdict.trained_len, "tokens"),
        ("Theory's limit", verdict.predicted_limit, "tokens"),
        ("Measured limit", verdict.measured_limit, "tokens"),
        ("Critical pair", verdict.critical_pair, "theory"),
        ("Drift begins at pair", verdict.onset_pair, "measured"),
        ("Drifting pairs", verdict.drifting_pairs, f"of {verdict.tested_pairs:,}"),
    ]
    return [
        dmc.Group(
            [
                dmc.Badge(headline, color=colour, size="xl", variant="filled", autoContrast=True),
                *(show_fact(*fact) for fact in facts),
            ],
            gap="xl",
            mb="sm",
        ),
        dmc.Text(" ".join(verdict.sentences), className="verdict", mb="xs"),
        *(
            [show_message(" ".join(verdict.weak), "gray", "What this evidence does not carry")]
            if verdict.weak
            else []
        ),
    ]


def _word_headline(verdict: Verdict) -> tuple[str, str]:
    if verdict.loss_breaks:
        return "It breaks", "red.8"
    if verdict.loss_breaks is None and verdict.drifts is None:
        return "Nothing to judge", "gray.7"
    if verdict.drifts:
        return "Pairs drift", "orange.9"
    return "It holds", "green.9"


VERDICT = Part("verdict", ("capture",), _show_verdict)


def _measure_breakdown(view: View) -> xr.Dataset:
    return view.measure(measure_breakdown)


def _draw_breakdown(measured: xr.Dataset, view: View) -> go.Figure:
    return plot_breakdown(measured)


BREAKDOWN = Panel(
    name="breakdown",
    title="Where it breaks: partial logits and loss by position",
    uses=("capture",),
    measure=_measure_breakdown,
    draw=_draw_breakdown,
    code=lambda view: (
        "from ropediag import open_capture\n"
        "from ropediag.analysis.breakdown import measure_breakdown\n"
        "from ropediag.plots.breakdown import plot_breakdown\n"
        f"plot_breakdown(measure_breakdown(open_capture({str(view.entry.path)!r})))"
    ),
    explain=lambda measured: (
        f"Above: {measured.attrs['averaged']}. Below: the loss of the same tokens with all the context, and "
        "with at most the training length of it."
    ),
    height=640,
)

DRIFT = Panel(
    name="drift-map",
    title="Which pairs drift: every head and pair",
    uses=("capture",),
    measure=lambda view: view.measure(measure_drift),
    draw=lambda measured, view: plot_diagnostic(
        measured, critical_pair=view.capture["rope/critical_pair"].load()
    ),
    code=lambda view: (
        "from ropediag import open_capture\n"
        "from ropediag.analysis.drift import measure_drift\n"
        "from ropediag.plots.diagnostic import plot_diagnostic\n"
        f"capture = open_capture({str(view.entry.path)!r})\n"
        "plot_diagnostic(measure_drift(capture), critical_pair=capture['rope/critical_pair'])"
    ),
    explain=lambda measured: (
        f"{measured.attrs['question']} High: {measured.attrs['high']}. Click a cell for its detail."
    ),
    height=520,
    leads_to="/pairs",
)


def _lay_out() -> html.Div:
    return html.Div([show_part(VERDICT), show_panel(BREAKDOWN), show_panel(DRIFT)])


PAGE = Page(
    title="Overview",
    path="/",
    order=1,
    purpose="Does the model break past its training length, where, in which pairs, and what did theory say?",
    layout=_lay_out,
    panels=(BREAKDOWN, DRIFT),
    parts=(VERDICT,),
)
