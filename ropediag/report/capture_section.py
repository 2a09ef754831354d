"""The section of a capture: verdict, breakdown, drift, and every diagnostic with its question."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from ropediag.analysis.diagnostic import Diagnostic, list_diagnostics
from ropediag.analysis.extremes import describe_extremes
from ropediag.analysis.kind import check_capture
from ropediag.analysis.verdict import Verdict, judge_capture
from ropediag.analysis.wording import word_headline
from ropediag.errors import RopediagError
from ropediag.plots.breakdown import plot_breakdown
from ropediag.plots.diagnostic import plot_diagnostic
from ropediag.plots.seen_lags import plot_seen_lags
from ropediag.recipe import write_command
from ropediag.report.figures import Drawing, draw
from ropediag.report.made import list_facts
from ropediag.store import Capture

ABOVE = ("drift", "breakdown", "seen_lags")  # diagnostics whose figures stand by the verdict
Facts = list[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class Answer:
    """One diagnostic: what it asks, its figure, or why there is none.

    Attributes
    ----------
    about : the diagnostic
    drawing : None where it could not be measured, or had to be left out for its size
    reason : why there is none
    """

    about: Diagnostic
    drawing: Drawing | None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class CaptureSection:
    """What the page says of one capture.

    Attributes
    ----------
    name : of its element in the page
    file : name of the file
    headline : the verdict in two words
    verdict : the numbers and sentences
    breakdown, seen_lags, drift : the figures of the verdict
    answers : of all diagnostics
    facts, command : how the file was made
    """

    name: str
    file: str
    headline: str
    verdict: Verdict
    breakdown: Answer
    seen_lags: Answer
    drift: Answer
    answers: tuple[Answer, ...]
    facts: Facts
    command: str | None


def describe_capture(capture: Capture, name: str) -> CaptureSection:
    """Judge a capture, and measure and draw every diagnostic.

    Raises
    ------
    ConfigError
        If the file is no capture, or does not state its training length.
    """
    check_capture(capture)
    verdict, found = judge_capture(capture), list_diagnostics()
    worst = verdict.offenders[0] if verdict.offenders else {}
    head = {axis: worst[axis] for axis in ("layer", "query_head") if axis in worst}
    critical = capture.critical_pair

    def answer(
        about: Diagnostic, plot: Callable[[xr.Dataset], Any], shows: str = "", **options: int
    ) -> Answer:
        return _answer(capture, f"{name}-{about.name}", about, plot, shows or about.shows, options)

    return CaptureSection(
        name=name,
        file=Path(capture.path).name,
        headline=word_headline(verdict),
        verdict=verdict,
        breakdown=answer(found["breakdown"], plot_breakdown, "excess", **head),
        seen_lags=answer(
            found["seen_lags"],
            lambda measured: plot_seen_lags(measured, measured_limit=verdict.measured_limit),
        ),
        drift=answer(found["drift"], lambda measured: plot_diagnostic(measured, critical_pair=critical)),
        answers=tuple(
            answer(about, lambda measured: plot_diagnostic(measured, critical_pair=critical))
            for about in found.values()
            if about.name not in ABOVE
        ),
        facts=list_facts(capture.attrs, capture.sizes["sequence"]),
        command=write_command("capture", capture.attrs.get("config")),
    )


def _answer(
    capture: Capture,
    name: str,
    about: Diagnostic,
    plot: Callable[[xr.Dataset], Any],
    shows: str,
    options: dict[str, int],
) -> Answer:
    try:
        measured = about(capture, **options).load()
        averaged = measured.attrs.get("averaged", "")
        text = describe_extremes(measured[shows]) if shows in measured else ""
        text = f"Partial logits: {averaged}. Of the excess: {text}" if averaged else text
        return Answer(about, draw(name, plot(measured), text))
    except RopediagError as error:
        return Answer(about, None, str(error).replace(str(capture.path), Path(capture.path).name))
