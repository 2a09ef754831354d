"""Cells of the page's tables: numbers as text."""

import math

import xarray as xr

NONE = "none"


def write_count(value: float) -> str:
    """Write a whole number, or that there is none."""
    return f"{value:,.0f}" if math.isfinite(value) and value >= 0 else NONE


def write_interval(own: xr.Dataset, name: str) -> str:
    """Write a whole number with the interval of ``NAME_low`` and ``NAME_high``, where they are known."""
    low, high = float(own[f"{name}_low"]), float(own[f"{name}_high"])
    interval = f" ({low:,.0f} to {high:,.0f})" if math.isfinite(low + high) else ""
    return write_count(float(own[name])) + interval
