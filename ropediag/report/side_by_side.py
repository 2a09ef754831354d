"""The section that sets captures side by side: their limits in one table, their curves over each other."""

from collections.abc import Mapping
from dataclasses import dataclass

import xarray as xr

from ropediag.analysis.breakdown import measure_breakdown
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.limit_table import tabulate_limits
from ropediag.analysis.overlay import overlay_breakdowns, overlay_drifts
from ropediag.analysis.verdict import Verdict
from ropediag.plots.drift_curves import plot_drift_curves
from ropediag.plots.law import plot_limits
from ropediag.plots.overlay import plot_overlay
from ropediag.report.cells import write_count, write_interval
from ropediag.report.figures import Drawing, draw
from ropediag.store import Capture

HEAD = ("capture", "base", "trained at", "tuned at", "read at", "predicted limit", "first reach",
        "measured limit", "critical pair", "drift begins at")  # fmt: skip


@dataclass(frozen=True, eq=False)
class SideBySide:
    """What the page says of several captures together.

    Attributes
    ----------
    head, rows : of the table
    drawings : the figures, each with its heading
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    drawings: tuple[tuple[str, Drawing], ...]


def set_side_by_side(captures: Mapping[str, Capture], verdicts: Mapping[str, Verdict]) -> SideBySide:
    """Set captures side by side, each under its name.

    Raises
    ------
    ConfigError
        If one does not state its training length.
    """
    limits = tabulate_limits(verdicts, {name: each.spec() for name, each in captures.items()})
    broken = overlay_breakdowns({name: measure_breakdown(each) for name, each in captures.items()})
    drifts = {name: measure_drift(each) for name, each in captures.items()}
    moved = overlay_drifts(drifts, {name: each.critical_pair for name, each in verdicts.items()})
    words = "; ".join(_word(limits.sel(capture=name)) for name in captures)
    return SideBySide(
        head=HEAD,
        rows=tuple(_row(limits.sel(capture=name)) for name in captures),
        drawings=(
            ("Where does each break?", draw("together-excess", plot_overlay(broken), words)),
            ("Which pairs drift in each?", draw("together-drift", plot_drift_curves(moved, "mean"), "")),
            ("What did the law say?", draw("together-limits", plot_limits(limits), words)),
        ),
    )


def _row(own: xr.Dataset) -> tuple[str, ...]:
    return (
        own.capture.item(),
        f"{float(own.base):,.10g}",
        *(
            write_count(float(own[name]))
            for name in ("train_len", "tune_len", "length", "predicted", "first_reach")
        ),
        write_interval(own, "measured"),
        write_count(float(own.critical_pair)),
        write_interval(own, "onset_pair"),
    )


def _word(own: xr.Dataset) -> str:
    predicted, measured = (write_count(float(own[name])) for name in ("predicted", "measured"))
    return f"{own.capture.item()}: predicted limit {predicted}, measured {measured}"
