"""The table of limits: what each compared capture is, and where theory and measurement put its limits."""

import math
from typing import Any

import xarray as xr

from ..cards import show_table


def show_limits(limits: xr.Dataset, selected: str) -> Any:
    """Show a row a capture: what it is, predicted and measured limit, critical and measured onset pair.

    Parameters
    ----------
    limits : as ``ropediag.analysis.limit_table`` gives it
    selected : the capture that is marked as the selected one
    """
    head = ("capture", "base", "trained at", "tuned at", "read at", "scaling", "predicted limit",
            "first reach", "measured limit (95 %)", "critical pair", "drift begins at (95 %)")  # fmt: skip
    rows: list[list[str]] = []
    for name in limits.capture.values.tolist():
        own = limits.sel(capture=name)
        rows.append(
            [
                f"{name} (selected)" if name == selected else name,
                f"{float(own.base):,.10g}",
                *(_count(own[each]) for each in ("train_len", "tune_len", "length")),
                str(own.scaling.item()),
                _count(own.predicted),
                _count(own.first_reach),
                _interval(own, "measured"),
                _count(own.critical_pair),
                _interval(own, "onset_pair"),
            ]
        )
    return show_table(head, rows)


def _count(value: xr.DataArray) -> str:
    number = float(value)
    return f"{number:,.0f}" if math.isfinite(number) and number > 0 else "none"


def _interval(own: xr.Dataset, name: str) -> str:
    low, high = float(own[f"{name}_low"]), float(own[f"{name}_high"])
    return _count(own[name]) + (f" ({low:,.0f} to {high:,.0f})" if math.isfinite(low + high) else "")
