"""Compare: several captures over each other, and one minus the selected one, diagnostic by diagnostic."""

from typing import Any

import dash_mantine_components as dmc
import xarray as xr
from dash import html

from ropediag.analysis.breakdown import measure_breakdown
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.law import word_law
from ropediag.analysis.limit_table import tabulate_limits
from ropediag.analysis.overlay import overlay_breakdowns, overlay_drifts
from ropediag.analysis.verdict import judge_capture
from ropediag.errors import ConfigError
from ropediag.plots.drift_curves import plot_drift_curves
from ropediag.plots.law import plot_law, plot_limits
from ropediag.plots.overlay import plot_overlay
from ropediag.store import open_study

from ..cards import show_choice, show_message, show_panel, show_part
from ..page import Choice, Page, Panel, Part
from ..view import View
from ._compared import CAPTURES, NEEDS, list_views, register_compared, show_compared, sort_captures
from ._difference import BY_LAG, DIFFERENCE_CHOICES, LARGEST, MAP
from ._limit_table import show_limits


def _pick(name: str, label: str, options: dict[str, str], width: int) -> Choice:
    return Choice(name, label, lambda view: options, lambda view: next(iter(options)), width=width)


ALONG = _pick(
    "along", "Along", {"position": "position in tokens", "multiple": "multiples of the training length"}, 260
)
DRIFT_OF = _pick(
    "drift_of", "Drift of", {"largest": "the head that drifts most", "mean": "the mean head"}, 260
)


def _tabulate(view: View) -> xr.Dataset:
    views = list_views(view)
    verdicts = {name: each.measure(judge_capture) for name, each in views.items()}
    return tabulate_limits(verdicts, {name: each.capture.spec() for name, each in views.items()})


def _show_limits(view: View) -> list[Any]:
    """Say which captures are left out and why, then the table of the others."""
    views, reasons = sort_captures(view)
    left = [show_message(f"{name} is left out. {reason}") for name, reason in reasons.items()]
    selected = view.entry.name.removesuffix(".h5")
    return [*left, *([show_limits(_tabulate(view), selected)] if views else [])]


LIMITS_TABLE = Part("limit-table", CAPTURES, _show_limits)


def _write_opening(view: View, imports: str) -> str:
    paths = {name: str(each.entry.path) for name, each in list_views(view).items()}
    listed = "".join(f"    {name!r}: open_capture({path!r}),\n" for name, path in paths.items())
    return f"from ropediag import open_capture\n{imports}\ncaptures = {{\n{listed}}}\n"


CURVES = Panel(
    name="compare-curves",
    title="Where each breaks: excess and partial logits by position",
    uses=(*CAPTURES, "along"),
    measure=lambda view: overlay_breakdowns(
        {name: each.measure(measure_breakdown) for name, each in list_views(view).items()}
    ),
    draw=lambda measured, view: plot_overlay(measured, ALONG.value(view)),
    code=lambda view: (
        _write_opening(
            view,
            "from ropediag.analysis.breakdown import measure_breakdown\n"
            "from ropediag.analysis.overlay import overlay_breakdowns\n"
            "from ropediag.plots.overlay import plot_overlay",
        )
        + "curves = overlay_breakdowns({name: measure_breakdown(each) for name, each in captures.items()})\n"
        f"plot_overlay(curves, {ALONG.value(view)!r})"
    ),
    explain=lambda measured: (
        "Above: what more context than the training length costs. On the dotted threshold of "
        f"{measured.attrs['threshold']} nats a bar marks the law's limit, a circle the measured one with its "
        "95 % interval. Below: the joint logit of the critical pair and slower ones, mean over sequences, "
        "layers and heads; dotted, that of the pairs before it. Dashed: the training length."
    ),
    height=600,
)


def _word_undrawn(measured: xr.Dataset) -> str:
    missing = measured.capture.values[(measured.measured + measured.predicted).isnull().values].tolist()
    said = f" Not drawn, since one of the two limits is not there: {', '.join(missing)}." if missing else ""
    return "Bars are 95 % intervals over sequences. On the line a model breaks where the law says." + said


LIMITS = Panel(
    name="compare-limits",
    title="These captures and the law",
    uses=CAPTURES,
    measure=_tabulate,
    draw=lambda measured, view: plot_limits(measured),
    code=lambda view: (
        _write_opening(
            view,
            "from ropediag.analysis.limit_table import tabulate_limits\n"
            "from ropediag.analysis.verdict import judge_capture\n"
            "from ropediag.plots.law import plot_limits",
        )
        + "verdicts = {name: judge_capture(each) for name, each in captures.items()}\n"
        "specs = {name: each.spec() for name, each in captures.items()}\n"
        "plot_limits(tabulate_limits(verdicts, specs))"
    ),
    explain=_word_undrawn,
    height=430,
)


def _list_studies(view: View) -> dict[str, str]:
    return {name: name for name in view.desk.entries("study")}


STUDY = Choice(
    "study", "Study", _list_studies, lambda view: next(iter(_list_studies(view)), ""), width=300
)  # fmt: skip


def _open_study(view: View) -> xr.Dataset:
    entries = view.desk.entries("study")
    if not entries:
        raise ConfigError(
            "This folder holds no study. Make one with ropediag study STUDY.yaml, and copy its table.h5 here."
        )
    entry = entries[STUDY.value(view)]
    return view.desk.keep(entry, "table", lambda: open_study(entry.path))


STUDY_LAW = Panel(
    name="study-law",
    title="A whole study and the law",
    uses=("study",),
    measure=_open_study,
    draw=lambda measured, view: plot_law(measured),
    code=lambda view: (
        "from ropediag.store import open_study\n"
        "from ropediag.plots.law import plot_law\n"
        f"plot_law(open_study({str(view.desk.entries('study')[STUDY.value(view)].path)!r}))"
    ),
    explain=word_law,
    height=430,
)


def _overlay_drifts(view: View) -> xr.Dataset:
    views = list_views(view)
    critical = {name: each.measure(judge_capture).critical_pair for name, each in views.items()}
    return overlay_drifts({name: each.measure(measure_drift) for name, each in views.items()}, critical)


DRIFTS = Panel(
    name="compare-drifts",
    title="Which pairs drift in each",
    uses=(*CAPTURES, "drift_of"),
    measure=_overlay_drifts,
    draw=lambda measured, view: plot_drift_curves(measured, DRIFT_OF.value(view)),
    code=lambda view: (
        _write_opening(
            view,
            "from ropediag.analysis.drift import measure_drift\n"
            "from ropediag.analysis.overlay import overlay_drifts\n"
            "from ropediag.analysis.verdict import judge_capture\n"
            "from ropediag.plots.drift_curves import plot_drift_curves",
        )
        + "critical = {name: judge_capture(each).critical_pair for name, each in captures.items()}\n"
        "curves = overlay_drifts({name: measure_drift(each) for name, each in captures.items()}, critical)\n"
        f"plot_drift_curves(curves, {DRIFT_OF.value(view)!r})"
    ),
    explain=lambda measured: (
        "How far the mean contribution of each pair leaves the range it had in training, in in-window "
        "standard deviations. Right of the dashed line pairs made no full turn in pretraining. The same pair "
        "turns more slowly under a larger base. Click a point to select its pair."
    ),
    height=360,
)


def _lay_out() -> html.Div:
    return html.Div(
        [
            html.Div(show_compared(), style={"maxWidth": 900, "marginBottom": 12}),
            show_part(LIMITS_TABLE),
            dmc.Group([show_choice(ALONG)], my="sm"),
            show_panel(CURVES),
            dmc.Group([show_choice(STUDY)], mb="sm"),
            dmc.SimpleGrid([show_panel(LIMITS), show_panel(STUDY_LAW)], cols={"base": 1, "lg": 2}),
            dmc.Group([show_choice(DRIFT_OF)], mb="sm"),
            show_panel(DRIFTS),
            dmc.Group([show_choice(choice) for choice in DIFFERENCE_CHOICES], mb="sm", align="flex-end"),
            show_panel(MAP),
            show_part(LARGEST),
            show_panel(BY_LAG),
        ]
    )


PAGE = Page(
    title="Compare",
    path="/compare",
    order=5,
    purpose="Captures over each other, by base, length or scaling rule: what differs, and does the law hold?",
    layout=_lay_out,
    panels=(CURVES, LIMITS, STUDY_LAW, DRIFTS, MAP, BY_LAG),
    parts=(LIMITS_TABLE, LARGEST),
    choices=(ALONG, STUDY, DRIFT_OF, *DIFFERENCE_CHOICES),
    needs=NEEDS,
    register=register_compared,
)
