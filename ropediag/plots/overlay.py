"""Curves of several captures over each other, one colour each: the excess above, the partial logits below."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import COLOURS, LINE, TEMPLATE, plain_text

UPPER, LOWER = (0.53, 1.0), (0.0, 0.45)  # of the drawing area: excess, partial logits
DASHES = ("solid", "dash", "dot")  # one for each round of the colours
ALONG = {"position": ("position", "query_position"), "multiple": ("multiple", "query_multiple")}
ROW = 22  # pixels: a line of the legend
SPACING = 4  # between two labels of the logarithmic axis


def plot_overlay(curves: xr.Dataset, along: str = "position") -> go.Figure:
    """Draw excess and partial logits of several captures by position.

    Parameters
    ----------
    curves : as ``ropediag.analysis.overlay.overlay_breakdowns`` gives it
    along : ``position``, tokens, or ``multiple`` of the training length

    Returns
    -------
    go.Figure
        Above, the excess, its threshold, and on it the measured limit of each capture with its interval
        (circle) and the predicted one (bar). Below, the partial logit of the pairs past the critical one as a
        line, of those before it dotted. Dashed lines mark the training lengths.
    """
    figure = go.Figure()
    for index, capture in enumerate(curves.capture.values):
        own = curves.sel(capture=capture)
        style = {"color": COLOURS[index % len(COLOURS)], "dash": DASHES[index // len(COLOURS) % len(DASHES)]}
        _draw_curves(figure, own, along, style)
        _mark_limits(figure, own, along, style["color"])
    lengths = curves.train_len.values if along == "position" else np.ones(1)
    for length in np.unique(lengths[np.isfinite(lengths)]):
        figure.add_vline(x=float(length), line={"color": LINE, "dash": "dash", "width": 1.2})
    return _lay_out(figure, curves, along)


def _draw_curves(figure: go.Figure, own: xr.Dataset, along: str, style: dict[str, str]) -> None:
    upper, lower = ALONG[along]
    name = plain_text(own.capture.item())
    where = "%{x:,.0f} tokens" if along == "position" else "%{x:,.3g} x"
    for variable, axis, panel, line in (
        ("excess", upper, "y", {"width": 2.5}),
        ("past_mean", lower, "y2", {"width": 2.5}),
        ("before_mean", lower, "y2", {"width": 1.5, "dash": "dot"}),
    ):
        known = np.isfinite(own[variable].values) & (own[axis].values > 0)
        figure.add_scatter(
            x=own[axis].values[known].astype(np.float32),
            y=own[variable].values[known].astype(np.float32),
            mode="lines",
            line={**style, **line},
            yaxis=panel,
            name=name,
            legendgroup=name,
            showlegend=variable == "past_mean",
            hovertemplate=f"{where}: %{{y:.3g}} {own[variable].attrs['units']}",
        )


def _mark_limits(figure: go.Figure, own: xr.Dataset, along: str, colour: str) -> None:
    """Mark predicted and measured limit on the threshold."""
    unit = 1.0 if along == "position" else float(own.train_len)
    threshold, name = float(own.attrs["threshold"]), plain_text(own.capture.item())
    common = {"y": [threshold], "mode": "markers", "legendgroup": name, "showlegend": False, "name": name}
    predicted, measured = float(own.predicted_limit), float(own.measured_limit)
    if np.isfinite(predicted):
        bar = {"symbol": "line-ns", "size": 18, "line": {"width": 3, "color": colour}}
        text = f"predicted limit {predicted:,.0f} tokens"
        figure.add_scatter(x=[predicted / unit], marker=bar, hovertemplate=text, **common)
    if np.isfinite(measured):
        low, high = float(own.measured_low), float(own.measured_high)
        bars: dict[str, Any] = {}
        text = f"measured limit {measured:,.0f} tokens"
        if np.isfinite(low + high):
            reach = {"array": [(high - measured) / unit], "arrayminus": [(measured - low) / unit]}
            bars = {"error_x": {"symmetric": False, "thickness": 2, **reach}}
            text += f" (95 % interval {low:,.0f} to {high:,.0f})"
        figure.add_scatter(
            x=[measured / unit], marker={"color": colour, "size": 10}, hovertemplate=text, **bars, **common
        )


def _lay_out(figure: go.Figure, curves: xr.Dataset, along: str) -> go.Figure:
    excess, past, position = curves.excess.attrs, curves.past_mean.attrs, curves.position.attrs
    title = {"position": f"position ({position['units']})", "multiple": "position over the training length"}
    lengths = curves.train_len.values[np.isfinite(curves.train_len.values)]
    start = float(lengths[0]) if along == "position" and lengths.size else 1.0
    ticks = start * float(SPACING) ** np.arange(-6, 12)
    places = np.concatenate([curves[name].values.ravel() for name in ALONG[along]])
    known = places[np.isfinite(places)]
    ends = known if known.size else np.array([start / SPACING, start * SPACING])
    first = max(float(ends.min()), start / 32)
    figure.add_hline(y=curves.attrs["threshold"], yref="y", line={"color": LINE, "dash": "dot", "width": 1.2})
    return figure.update_layout(
        template=TEMPLATE,
        height=600,
        margin_t=20 + ROW * (1 + curves.sizes["capture"] // 3),
        hovermode="closest",
        xaxis={
            "type": "log",
            "title": {"text": title[along]},
            "range": [float(np.log10(first)), float(np.log10(ends.max()))],
            "tickvals": ticks,
            "ticktext": [f"{tick:,.4g}" if tick < 1 else f"{tick:,.0f}" for tick in ticks],
            "anchor": "y2",
        },
        yaxis={"domain": UPPER, "title": {"text": f"excess loss ({excess['units']})"}},
        yaxis2={
            "domain": LOWER,
            "title": {"text": f"partial logit ({past['units']})<br>past critical, dotted: before"},
        },
    )
