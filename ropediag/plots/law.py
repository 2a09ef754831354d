"""The law: measured against predicted limit, of the models of a study, or of captures at hand."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import COLOURS, LINE, TEMPLATE, plain_text

SYMBOLS = ("circle", "square-open", "diamond-open", "x-thin-open", "triangle-up-open")
TICKS = 2 ** np.arange(4, 24)  # tokens; plotly shows those in range
TOKENS = {"type": "log", "tickvals": TICKS, "ticktext": [f"{tick:,}" for tick in TICKS]}
HEIGHT = 520


def plot_law(table: xr.Dataset) -> go.Figure:
    """Draw the models of a study above their critical base, one colour a tuning length, and the law.

    Parameters
    ----------
    table : as ``ropediag.study.make_table`` or ``ropediag.store.open_study`` gives it

    Returns
    -------
    go.Figure
        Both axes logarithmic; bars are the interval over sequences.
    """
    shown = table.where(table.past_critical_base & np.isfinite(table.measured + table.predicted), drop=True)
    figure = _draw_law(shown.predicted.values)
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
    return _lay_out(figure, table)


def plot_limits(limits: xr.Dataset) -> go.Figure:
    """Draw the limits of captures, one colour each, and the law as a line.

    Parameters
    ----------
    limits : as ``ropediag.analysis.limit_table.tabulate_limits`` gives it; what lacks a limit is not drawn

    Returns
    -------
    go.Figure
        Axes and bars as in ``plot_law``.
    """
    known = np.isfinite((limits.measured + limits.predicted).values)
    figure = _draw_law(limits.predicted.values[known])
    for index in np.flatnonzero(known):
        points = mark_limits(limits.isel(capture=[index]), "predicted", int(index))
        points.marker.symbol = SYMBOLS[0]
        figure.add_trace(
            points.update(
                name=plain_text(limits.capture.values[index]),
                hovertemplate="predicted %{x:,.0f}, measured %{y:,.0f} tokens",
            )
        )
    return _lay_out(figure, limits)


def mark_limits(rows: xr.Dataset, across: str, index: int) -> go.Scatter:
    """Mark measured limits with their intervals over sequences, over another variable of a table."""
    colour = COLOURS[index % len(COLOURS)]
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
            "color": colour,
            "size": 10,
            "symbol": SYMBOLS[index % len(SYMBOLS)],
            "line": {"width": 2, "color": colour},
        },
    )


def _draw_law(predicted: np.ndarray) -> go.Figure:
    ends = [float(predicted.min()), float(predicted.max())] if predicted.size else []
    line = {"color": LINE, "dash": "dash"}
    return go.Figure(go.Scatter(x=ends, y=ends, mode="lines", line=line, name="the law"))


def _lay_out(figure: go.Figure, table: xr.Dataset) -> go.Figure:
    figure.update_layout(template=TEMPLATE, height=HEIGHT, showlegend=True)
    for axis, name in (("xaxis", "predicted"), ("yaxis", "measured")):
        unit = table[name].attrs["units"].removesuffix("s")
        figure.update_layout({axis: {"title": {"text": f"{name} limit ({unit}s)"}, **TOKENS}})
    return figure
