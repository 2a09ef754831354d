"""The overview: does the model break, where, in which pairs, and what did theory say?"""

from urllib.parse import urlencode

import dash_mantine_components as dmc
from dash import dcc, html

from ropediag.analysis.breakdown import measure_breakdown
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.seen_lags import measure_seen_lags
from ropediag.analysis.verdict import judge_capture
from ropediag.analysis.wording import group_sentences, word_headline
from ropediag.plots.breakdown import plot_breakdown
from ropediag.plots.diagnostic import plot_diagnostic
from ropediag.plots.seen_lags import plot_seen_lags

from ..cards import show_choice, show_fact, show_message, show_panel, show_part
from ..page import Choice, Page, Panel, Part
from ..view import PLACE, View
from ._ablations import reach_panel

HEADLINES = {"It breaks": "red.8", "Pairs drift": "#b03a06", "It holds": "green.9"}  # all others are grey


def _show_verdict(view: View) -> list:
    verdict = view.measure(judge_capture)
    headline = word_headline(verdict)
    facts = [
        ("Trained at", verdict.trained_len, "tokens"),
        ("Predicted limit", verdict.predicted_limit, "tokens"),
        ("First reach", verdict.first_reach, "tokens, a lower bound"),
        ("Measured limit", verdict.measured_limit, "tokens"),
        ("Critical pair", verdict.critical_pair, "theory"),
        ("Drift begins at pair", verdict.onset_pair, "measured"),
        ("Drifting pairs", verdict.drifting_pairs, f"of {verdict.tested_pairs:,}"),
    ]
    return [
        dmc.Group(
            [
                dmc.Badge(
                    headline,
                    color=HEADLINES.get(headline, "gray.7"),
                    size="xl",
                    variant="filled",
                    autoContrast=True,
                ),
                *(show_fact(*fact) for fact in facts),
            ],
            gap="xl",
            mb="sm",
        ),
        *(
            dmc.Text([html.B(f"{kind.capitalize()}: "), " ".join(texts)], className="verdict", mb="xs")
            for kind, texts in group_sentences(verdict).items()
        ),
        *(
            [show_message(" ".join(verdict.weak), "gray", "What this evidence does not carry")]
            if verdict.weak
            else []
        ),
    ]


VERDICT = Part("verdict", ("capture",), _show_verdict)


def _name_heads(view: View) -> dict[str, str]:
    return {
        "all": "all heads, averaged",
        "selected": f"layer {view.layer}, head {view.query_head}, as selected",
    }


HEADS = Choice(
    field="heads",
    label="Partial logits of",
    options=_name_heads,
    default=lambda view: "all",
    uses=("capture", "layer", "query_head"),
)


def _choose_heads(view: View) -> dict[str, int]:
    if HEADS.value(view) == "all":
        return {}
    return {"layer": view.layer, "query_head": view.query_head}


def _write_breakdown(view: View) -> str:
    heads = "".join(f", {axis}={value}" for axis, value in _choose_heads(view).items())
    return (
        "from ropediag import open_capture\n"
        "from ropediag.analysis.breakdown import measure_breakdown\n"
        "from ropediag.plots.breakdown import plot_breakdown\n"
        f"capture = open_capture({str(view.entry.path)!r})\n"
        f"plot_breakdown(measure_breakdown(capture{heads}))"
    )


BREAKDOWN = Panel(
    name="breakdown",
    title="Where it breaks: partial logits and loss by position",
    uses=("capture", "layer", "query_head", "heads"),
    measure=lambda view: view.measure(measure_breakdown, **_choose_heads(view)),
    draw=lambda measured, view: plot_breakdown(measured),
    code=_write_breakdown,
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
    draw=lambda measured, view: plot_diagnostic(measured, critical_pair=view.capture.critical_pair),
    code=lambda view: (
        "from ropediag import open_capture\n"
        "from ropediag.analysis.drift import measure_drift\n"
        "from ropediag.plots.diagnostic import plot_diagnostic\n"
        f"capture = open_capture({str(view.entry.path)!r})\n"
        "plot_diagnostic(measure_drift(capture), critical_pair=capture.critical_pair)"
    ),
    explain=lambda measured: (
        f"{measured.attrs['question']} High: {measured.attrs['high']}. Click a cell for its detail."
    ),
    height=520,
    leads_to="/pairs",
)


def _choose_marks(view: View) -> dict[str, int | None]:
    """Choose the layer whose pairs are drawn, the selected one if it rotates, and the limit to mark."""
    rotates = bool(view.measure(measure_seen_lags).period.sel(layer=view.layer).notnull().any())
    limit = view.measure(judge_capture).measured_limit
    return {"layer": view.layer if rotates else None, "measured_limit": limit}


def _write_seen_lags(view: View) -> str:
    marks = "".join(f", {name}={value}" for name, value in _choose_marks(view).items())
    return (
        "from ropediag import open_capture\n"
        "from ropediag.analysis.seen_lags import measure_seen_lags\n"
        "from ropediag.plots.seen_lags import plot_seen_lags\n"
        f"capture = open_capture({str(view.entry.path)!r})\n"
        f"plot_seen_lags(measure_seen_lags(capture){marks})"
    )


SEEN = Panel(
    name="seen-lags",
    title="What training showed: seen and unseen lags of each pair",
    uses=("capture", "layer"),
    measure=lambda view: view.measure(measure_seen_lags),
    draw=lambda measured, view: plot_seen_lags(measured, **_choose_marks(view)),
    code=_write_seen_lags,
    explain=lambda measured: (
        "Geometry, from the phases of training: a pair without a full turn meets new angles from its trained "
        "reach on, and again in every later turn. What that costs, only interventions tell."
    ),
    height=560,
)


REACH = reach_panel("overview-reach", of_capture=True)


def _show_offenders(view: View) -> list:
    """List the pairs that drift most, each with a link to its page."""
    offenders = view.measure(judge_capture).offenders
    if not offenders:
        return [dmc.Text("No pair drifts.", c="dimmed")]
    heads = ("Layer", "Head", "Pair", "Period", "Drift", "Share", "Onset")
    rows = [dmc.TableTr([dmc.TableTd(cell) for cell in _describe_offender(view, one)]) for one in offenders]
    table = dmc.Table(
        [dmc.TableThead(dmc.TableTr([dmc.TableTh(head) for head in (*heads, "")])), dmc.TableTbody(rows)],
        highlightOnHover=True,
    )
    return [dmc.Title("The pairs that drift most", order=2, size="h4", mb="xs"), table]


def _describe_offender(view: View, one: dict) -> list:
    onset = "none" if one["onset"] is None else f"from lag {one['onset']:,.0f}"
    period = "none" if one["period"] is None else f"{one['period']:,.0f} tokens"
    place = {axis: one[axis] for axis in PLACE}
    link = "/pairs?" + urlencode({"capture": view.entry.name, **place})
    return [
        *(str(value) for value in place.values()),
        period,
        f"{one['drift']:.2f} in-range std",
        f"{one['share']:.1%} of all drift",
        onset,
        dcc.Link("See it", href=link),
    ]


OFFENDERS = Part("offenders", ("capture",), _show_offenders)


def _lay_out() -> html.Div:
    return html.Div(
        [
            show_part(VERDICT),
            dmc.Group(show_choice(HEADS), mb="xs"),
            show_panel(BREAKDOWN),
            show_panel(SEEN),
            show_panel(DRIFT),
            show_part(OFFENDERS),
            show_panel(REACH),
        ]
    )


PAGE = Page(
    title="Overview",
    path="/",
    order=1,
    purpose="Does the model break past its training length, where, in which pairs, and what did theory say?",
    layout=_lay_out,
    panels=(BREAKDOWN, SEEN, DRIFT, REACH),
    parts=(VERDICT, OFFENDERS),
    choices=(HEADS,),
    stays=True,
)
