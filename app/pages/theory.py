"""Theory: a calculator of what the laws say of settings side by side; it needs no capture and no model."""

from typing import Any

import dash_mantine_components as dmc
import xarray as xr
from dash import Dash, Input, Output, html, no_update

from ropediag.analysis.seen_lags import predict_seen_lags
from ropediag.analysis.theory_words import describe_retrieval, describe_theory
from ropediag.plots.base_limit import plot_base_limit
from ropediag.plots.coverage import plot_coverage
from ropediag.plots.seen_lags import plot_seen_lags
from ropediag.plots.theory import plot_theory
from ropediag.prediction import Prediction

from ..cards import show_message, show_panel, show_part
from ..page import Page, Panel, Part
from ..view import Desk, View
from ._calculator import DEFAULT, NAME, NEED, show_calculator, wire_calculator
from ._settings import (
    FIELDS,
    Setting,
    compare_settings,
    find_predictions,
    follow_settings,
    list_predictions,
    name_settings,
    predict_setting,
    read_settings,
)

USES = ("settings",)
FIGURES = "theory-figures"  # id of what holds them
FARTHEST = 8  # times the longest length that a setting knows, up to which lags are shown


def _read(view: View) -> str:
    return view.get("settings") or DEFAULT


def _show_answers(view: View) -> Any:
    """The laws' answers, one column a setting."""
    settings = read_settings(_read(view))
    answers = [predict_setting(setting) for setting in settings]
    worded = [describe_theory(one) if isinstance(one, Prediction) else None for one in answers]
    rows = next((list(one) for one in worded if one), [])
    if not rows:
        return show_message("No setting can be computed: mend the fields marked above.")
    body = [[row, *(one[row] if one else "cannot be computed" for one in worded)] for row in rows]
    return dmc.Paper(
        dmc.Table(
            data={"head": ["", *name_settings(settings)], "body": body},
            verticalSpacing=4,
            attributes={"table": {"aria-label": "What the laws say of each setting"}},
        ),
        withBorder=True,
        p="md",
        className="panel",
    )


ANSWERS = Part("theory-answers", USES, _show_answers)


def _show_retrieval(view: View) -> Any:
    """The bases for retrieval, apart since they are searched for; nothing if no setting can be computed."""
    said: dict[str, list[str]] = {}
    for name, one in find_predictions(_read(view)).items():
        said.setdefault(describe_retrieval(one), []).append(name[0])
    lines = "; ".join(f"{', '.join(letters)}: {text}" for text, letters in said.items())
    if not lines:
        return []
    begin = "For retrieval, which a low loss does not promise: "
    return dmc.Text(f"{begin}{lines}.", size="sm", c="dimmed", mb="md")


RETRIEVAL = Part("theory-retrieval", USES, _show_retrieval)


def _write_code(view: View, measure: str, plot: str, module: str) -> str:
    """Write the Python that makes a figure of the settings that can be computed."""
    settings = read_settings(_read(view))
    names = dict(zip(name_settings(settings), settings, strict=True))
    calls = [
        f"    {name!r}: predict({_write_arguments(names[name])})," for name in list_predictions(_read(view))
    ]
    return "\n".join(
        [
            "from ropediag import predict",
            f"from ropediag.analysis.theory import {measure}",
            f"from ropediag.plots.{module} import {plot}",
            "settings = {",
            *calls,
            "}",
            f"{plot}({measure}(settings))",
        ]
    )


def _write_last(view: View) -> str:
    settings = read_settings(_read(view))
    names = dict(zip(name_settings(settings), settings, strict=True))
    return _write_arguments(names[list(find_predictions(_read(view)))[-1]])


def _write_arguments(setting: Setting) -> str:
    given = dict(setting)
    if "base" not in given:
        given["base"] = given["pretrain"]
    return ", ".join(
        f"{field.argument}={field.read(given[field.key])!r}" for field in FIELDS if field.key in given
    )


PERIODS = Panel(
    name="theory-periods",
    title="Periods: how long a turn of each pair takes",
    uses=USES,
    measure=lambda view: compare_settings(_read(view)),
    draw=lambda measured, view: plot_theory(measured),
    code=lambda view: _write_code(view, "compare_theory", "plot_theory", "theory"),
    explain=lambda measured: (
        "Solid: as tuned; dashed: in pretraining; diamond: the critical pair. A pair whose dashed line lies "
        "above the training length made no full turn in pretraining. The first of them breaks, in plain RoPE "
        "where its period as tuned, the solid line, is passed."
    ),
    height=460,
)
LAW = Panel(
    name="theory-law",
    title="The law: the limit by the base a model is tuned with",
    uses=USES,
    measure=lambda view: follow_settings(_read(view)),
    draw=lambda measured, view: plot_base_limit(measured),
    code=lambda view: _write_code(view, "follow_law", "plot_base_limit", "base_limit"),
    explain=lambda measured: (
        "Lines: plain RoPE tuned with each base, all else as set; circles: the settings, which a scaling "
        "rule can move off their line; dotted: the critical base, up to which the limit is the tuning "
        "length. Where a line ends on the left, tuning trains every pair: there is no bound of this kind."
    ),
    height=420,
)
COVERAGE = Panel(
    name="theory-coverage",
    title="Coverage: the share of a turn that training showed",
    uses=USES,
    measure=lambda view: compare_settings(_read(view)),
    draw=lambda measured, view: plot_coverage(measured),
    code=lambda view: _write_code(view, "compare_theory", "plot_coverage", "coverage"),
    explain=lambda measured: (
        "Dashed: in pretraining; solid: in pretraining or tuning, whichever showed more; area: the share of "
        "a turn that is new at the target length. High: angles that these pairs never met."
    ),
    height=340,
)


def _read_seen_lags(view: View) -> xr.Dataset:
    """Unseen lags of the last setting that can be computed, far past the longest length it knows."""
    name, answer = list(find_predictions(_read(view)).items())[-1]
    longest = max(answer.train_len, answer.tune_len, answer.predicted_limit or 0)
    found = predict_seen_lags(answer, round(FARTHEST * longest))
    return found.assign_attrs(setting=name)


SEEN = Panel(
    name="theory-seen-lags",
    title="What training showed: seen and unseen lags of each pair",
    uses=USES,
    measure=_read_seen_lags,
    draw=lambda measured, view: plot_seen_lags(measured),
    code=lambda view: "\n".join(
        [
            "from ropediag import predict",
            "from ropediag.analysis.seen_lags import predict_seen_lags",
            "from ropediag.plots.seen_lags import plot_seen_lags",
            f"answer = predict({_write_last(view)})",
            f"plot_seen_lags(predict_seen_lags(answer, length={_read_seen_lags(view).attrs['length']}))",
        ]
    ),
    explain=lambda measured: (
        f"Of setting {measured.attrs['setting']}. A pair without a full turn in training meets new angles "
        "from its trained reach, the circle, on, and again in every later turn."
    ),
    height=560,
)


def _lay_out() -> html.Div:
    panels = map(show_panel, (PERIODS, SEEN, LAW, COVERAGE))
    return html.Div(
        [show_calculator(), show_part(ANSWERS), show_part(RETRIEVAL), html.Div(list(panels), id=FIGURES)]
    )


def _register(app: Dash, desk: Desk) -> None:
    wire_calculator(app, desk)

    @app.callback(
        Output(FIGURES, "style"),
        Input(NEED, "data"),
    )
    def hide(need: dict[str, str] | None) -> Any:
        """Hide the figures where no setting can be computed, which is said once, above them."""
        if need is None:
            return no_update
        return {} if find_predictions(_read(desk.view(need))) else {"display": "none"}


PAGE = Page(
    title="Theory",
    path="/theory",
    order=6,
    purpose="What the laws say of a model before it runs. The address of this page holds every number.",
    layout=_lay_out,
    panels=(PERIODS, SEEN, LAW, COVERAGE),
    parts=(ANSWERS, RETRIEVAL),
    needs={NAME: USES},
    register=_register,
    needs_capture=False,
)
