"""The breakdown by position: partial logits above, the loss below, and where it was to be expected."""

import math

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import (
    BEFORE,
    BEFORE_BAND,
    FAINT,
    INK,
    LINE,
    PAPER,
    PAST,
    PAST_BAND,
    SHADE,
    TEMPLATE,
    pickable,
    plain_text,
)

COLOURS = {"before": BEFORE, "past": PAST, "nll": INK, "nll_windowed": FAINT}
BANDS = {"before": BEFORE_BAND, "past": PAST_BAND, "excess": SHADE}
DASHES = {"train_len": "dash", "predicted_limit": "dot", "measured_limit": "solid"}
UPPER, LOWER = (0.46, 1.0), (0.0, 0.36)  # of the drawing area: partial logits, loss
INSIDE, HEADER, BOTTOM, ROW = 504, 84, 54, 19  # pixels: both panels; title and legend; axis; one label


def plot_breakdown(breakdown: xr.Dataset) -> go.Figure:
    """Draw partial logits and loss by position, with the training length and both limits.

    Parameters
    ----------
    breakdown : as ``ropediag.analysis.breakdown.measure_breakdown`` gives it

    Returns
    -------
    go.Figure
        Lines and bands of ``*_mean`` and ``*_std`` above, ``nll`` and ``nll_windowed`` below.
    """
    figure = go.Figure()
    for side in ("before", "past"):
        _draw_logits(figure, breakdown, side)
    _draw_losses(figure, breakdown)
    labels = _draw_marks(figure, breakdown)
    _lay_out(figure, breakdown, labels)
    return figure


def _draw_logits(figure: go.Figure, breakdown: xr.Dataset, side: str) -> None:
    """Draw the mean as a line in a band of one standard deviation to either side."""
    mean, std = breakdown[f"{side}_mean"], breakdown[f"{side}_std"]
    band = _band(mean.query_position.values, (mean - std).values, (mean + std).values, BANDS[side])
    figure.add_trace(band.update(legendgroup=side, showlegend=False))
    figure.add_scatter(
        x=mean.query_position.values,
        y=mean.values,
        name=mean.attrs["long_name"],
        line={"color": COLOURS[side], "width": 2.5},
        legendgroup=side,
    )


def _draw_losses(figure: go.Figure, breakdown: xr.Dataset) -> None:
    """Draw the losses as lines and the excess as the area between them."""
    below = {"yaxis": "y2", "legend": "legend2"}
    if "excess" in breakdown:
        full, windowed = breakdown.nll, breakdown.nll_windowed
        area = _band(full.position.values, windowed.values, full.values, BANDS["excess"])
        figure.add_trace(area.update(name=breakdown.excess.attrs["long_name"], legendrank=1001, **below))
    for rank, name in enumerate(("nll_windowed", "nll")):  # the full context drawn last, named first
        if name in breakdown:
            figure.add_scatter(
                x=breakdown[name].position.values,
                y=breakdown[name].values,
                name=breakdown[name].attrs["long_name"],
                line={"color": COLOURS[name], "width": 2.5},
                legendrank=1000 - rank,
                **below,
            )


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str) -> go.Scatter:
    """Fill the area between two curves where both are known; position 0 has no place on the axis."""
    known = np.isfinite(low) & np.isfinite(high) & (x > 0)
    x, low, high = x[known], low[known], high[known]
    outline = {"x": np.concatenate([x, x[::-1]]), "y": np.concatenate([high, low[::-1]])}
    area = {"mode": "lines", "line_width": 0, "fill": "toself", "fillcolor": colour}
    return go.Scatter(**outline, **area, hoverinfo="skip")


def _draw_marks(figure: go.Figure, breakdown: xr.Dataset) -> int:
    """Mark training length and limits through both panels; return the lines of labels above them."""
    low, high = float(breakdown.measured_low), float(breakdown.measured_high)
    known = [name for name in DASHES if math.isfinite(float(breakdown[name]))]
    if math.isfinite(low):
        for panel in ("y", "y2"):
            shade = {"type": "rect", "fillcolor": SHADE, "line_width": 0}
            figure.add_shape(**_stretch(low, high, panel), **shade)
    middle = 10 ** (sum(_axis_range(breakdown)) / 2)  # labels stand on the side of a mark with more room,
    values = {float(breakdown[name]) for name in known}  # in an order in which they cross few other marks
    order = sorted(values, key=lambda value: (value <= middle, -value if value <= middle else value))
    for line, value in enumerate(order):
        names = [name for name in known if float(breakdown[name]) == value]
        text = f"{' and '.join(breakdown[name].attrs['long_name'] for name in names)}: {value:,.0f}"
        if "measured_limit" in names and math.isfinite(low):
            text += f" ({breakdown.measured_limit.attrs['interval']} {low:,.0f} to {high:,.0f})"
        style = {"type": "line", "line": {"dash": DASHES[names[-1]], "width": 1.6, "color": LINE}}
        figure.add_shape(**_stretch(value, value, "y", above=ROW * (line + 0.9)), **style)
        figure.add_shape(**_stretch(value, value, "y2"), **style)
        figure.add_annotation(
            text=text,
            x=math.log10(value),
            xanchor="right" if value > middle else "left",
            xshift=-2 if value > middle else 2,
            y=1,
            yref="paper",
            yanchor="bottom",
            yshift=ROW * line,
            bgcolor=PAPER,
            borderpad=0,
            showarrow=False,
        )
    return len(order)


def _stretch(x0: float, x1: float, axis: str, above: float = 0) -> dict:
    """Place a shape: positions across, up a whole panel and ``above`` pixels more."""
    top = 1 + above / INSIDE / (UPPER[1] - UPPER[0])
    return {"x0": x0, "x1": x1, "y0": 0, "y1": top, "yref": f"{axis} domain", "layer": "above"}


def _lay_out(figure: go.Figure, breakdown: xr.Dataset, labels: int) -> None:
    """Set axes, title and legends; every text that describes data is read from the arrays."""
    attrs, mean, std = breakdown.attrs, breakdown.past_mean, breakdown.past_std
    loss = breakdown.get("nll", xr.DataArray(attrs={"units": "nats per token"}))
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"}
    axis = {"title_font_size": 14}
    top = HEADER + labels * ROW
    figure.update_layout(
        width=800,
        height=top + INSIDE + BOTTOM,
        margin={"t": top, "b": BOTTOM, "l": 70, "r": 20},
        template=TEMPLATE,
        meta=pickable({}, numbered=False, zoom="positions"),
        title={"text": _title(attrs), "x": 0.01, "y": 1, "yanchor": "top", "pad_t": 14, "font_size": 16},
        legend={**legend, "y": 1 + (labels * ROW + 3) / INSIDE, "orientation": "v", "tracegroupgap": 0},
        legend2={**legend, "y": LOWER[1]},
        xaxis={
            **axis,
            "title": f"position ({mean.query_position.attrs['units']})",
            "type": "log",
            "range": _axis_range(breakdown),
            "anchor": "y2",
            "ticks": "outside",
            "dtick": math.log10(2 if attrs["length"] <= 2**15 else 4),
            "tickformat": ",d",
            "tickangle": 0,
        },
        yaxis={
            **axis,
            "domain": UPPER,
            "title": f"partial logit ({mean.attrs['units']}):<br>mean ± {std.attrs['long_name']}",
        },
        yaxis2={**axis, "domain": LOWER, "title": f"loss ({loss.attrs['units']})"},
    )


def _title(attrs: dict) -> str:
    base = f", base {attrs['base']:,.10g}" if math.isfinite(attrs["base"]) else ""
    return f"{plain_text(attrs['model'])}{base}: {attrs['averaged']}"


def _axis_range(breakdown: xr.Dataset) -> tuple[float, float]:
    """The logarithms of the ends of the position axis; position 0 has no place on it."""
    first = max(1.0, float(breakdown.query_position[0]))
    return math.log10(first), math.log10(float(breakdown.attrs["length"]))
