"""The law of a study: measured against predicted limit, model by model."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

COLOURS = ("#5e3c99", "#e66101", "#1b7837", "#2166ac", "#b2182b")
SYMBOLS = ("circle", "square-open", "diamond-open", "x-thin-open", "triangle-up-open")
LINE, GRID = "#4d4d4d", "#ececec"
TICKS = 2 ** np.arange(4, 24)  # tokens; plotly shows those in range
TOKENS = {"type": "log", "gridcolor": GRID, "tickvals": TICKS, "ticktext": [f"{tick:,}" for tick in TICKS]}
LAYOUT = {
    "template": "plotly_white",
    "width": 760,
    "height": 520,
    "margin": {"t": 20, "r": 20},
    "legend": {"x": 0.02, "y": 0.98},
}


def plot_law(table: xr.Dataset) -> go.Figure:
    """Draw the models above their critical base, one colour a tuning length, and the law as a line.

    Parameters
    ----------
    table : as ``ropediag.study.make_table`` gives it

    Returns
    -------
    go.Figure
        Both axes logarithmic; bars are the interval over sequences.
    """
    shown = table.where(table.past_critical_base & np.isfinite(table.measured + table.predicted), drop=True)
    ends = [float(shown.predicted.min()), float(shown.predicted.max())]
    figure = go.Figure()
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"color": LINE, "dash": "dash"}, name="the law")
    for index, length in enumerate(np.unique(shown.tune_len.values)):
        rows = shown.where(shown.tune_len == length, drop=True)
        points = mark_limits(rows, "predicted", index)
        figure.add_trace(
            points.update(
                name=f"tuned at {int(length)} tokens",
                text=[f"base {base:,.0f}" for base in rows.base.values],
                hovertemplate="%{text}<br>predicted %{x:,.0f}, measured %{y:,.0f} tokens",
            )
        )
    figure.update_layout(**LAYOUT)
    for axis, name in (("xaxis", "predicted"), ("yaxis", "measured")):
        title = f"{name} limit ({table[name].attrs['units']}s)"
        figure.update_layout({axis: {"title": title, **TOKENS}})
    return figure


def mark_limits(rows: xr.Dataset, across: str, index: int) -> go.Scatter:
    """Mark measured limits with their intervals over sequences, over another variable of a study's table."""
    return go.Scatter(
        x=rows[across].values,
        y=rows.measured.values,
        error_y={
            "symmetric": False,
            "array": (rows.measured_high - rows.measured).values,
            "arrayminus": (rows.measured - rows.measured_low).values,
        },
        mode="markers",
        marker={
            "color": COLOURS[index % len(COLOURS)],
            "size": 10,
            "symbol": SYMBOLS[index % len(SYMBOLS)],
            "line": {"width": 2},
        },
    )
