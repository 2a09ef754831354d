"""One pair's contribution by lag: where it was in training, where it is beyond, and when it leaves."""

import math

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import (
    BEFORE,
    BEFORE_BAND,
    FAINT,
    LINE,
    PAST,
    PAST_BAND,
    SHADE,
    TEMPLATE,
    pickable,
    plain_text,
)

INSIDE, TOP, BOTTOM, ROW = 300, 44, 106, 18  # pixels: drawing area; title; axis and legend; one label
MARKS = {"reach": "dash", "onset": "solid"}


def plot_pair_profile(profile: xr.Dataset) -> go.Figure:
    """Draw the mean in a band of one deviation, lag on a logarithmic axis, beside the range of training.

    Parameters
    ----------
    profile : as ``ropediag.analysis.pair_profile.measure_pair_profile`` gives it

    Returns
    -------
    go.Figure
        Purple for a pair before the critical one, orange for the critical one and slower ones. Lag 0 has no
        place on the axis.
    """
    past = 0 <= int(profile.critical_pair) <= profile.attrs["pair"]
    colour, band = (PAST, PAST_BAND) if past else (BEFORE, BEFORE_BAND)
    figure = go.Figure()
    _draw_range(figure, profile)
    _draw_sampled(figure, profile)
    mean, std = profile["mean"], profile["std"]
    lag, low, high = _fill_known(profile.lag.values, (mean - std).values, (mean + std).values)
    figure.add_scatter(
        x=np.concatenate([lag, lag[::-1]]),
        y=np.concatenate([high, low[::-1]]).astype(np.float32),
        mode="lines",
        line_width=0,
        fill="toself",
        fillcolor=band,
        name="mean ± standard deviation",
        hoverinfo="skip",
    )
    _draw_extremes(figure, profile, colour)
    figure.add_scatter(**_curve(mean), line={"color": colour, "width": 2.5}, name=mean.attrs["long_name"])
    labels = _draw_marks(figure, profile)
    _lay_out(figure, profile, labels)
    return figure


def _curve(values: xr.DataArray) -> dict:
    """One curve over lags from 1 on."""
    (axis,) = values.dims
    lag = values[axis].values
    unit = values.attrs["units"]
    return {
        "x": lag[lag > 0].astype(np.int32),
        "y": values.values[lag > 0].astype(np.float32),
        "mode": "lines",
        "hovertemplate": f"%{{y:.3f}} {unit}",
    }


def _fill_known(lag: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
    known = np.isfinite(low) & np.isfinite(high) & (lag > 0)
    return lag[known].astype(np.int32), low[known], high[known]


def _draw_sampled(figure: go.Figure, profile: xr.Dataset) -> None:
    """Smallest and largest contribution among the sampled queries, as thin lines."""
    for name in ("maximum", "minimum"):
        if name in profile:
            figure.add_scatter(
                **_curve(profile[name]),
                line={"color": FAINT, "width": 1},
                name="extremes, sampled queries" if name == "maximum" else "",
                legendgroup="sampled",
                showlegend=name == "maximum",
            )


def _draw_extremes(figure: go.Figure, profile: xr.Dataset, colour: str) -> None:
    """What the drift is judged by: extremes of the means at the single lags of a bin."""
    for name in ("lag_mean_max", "lag_mean_min"):
        figure.add_scatter(
            **_curve(profile[name]),
            line={"color": colour, "width": 1.2, "dash": "dot"},
            name="extremes of single-lag means" if name == "lag_mean_max" else "",
            legendgroup="single",
            showlegend=name == "lag_mean_max",
        )


def _draw_range(figure: go.Figure, profile: xr.Dataset) -> None:
    """Shade the range of training, across the whole axis."""
    low, high, length = float(profile.range_low), float(profile.range_high), profile.attrs["length"]
    if math.isfinite(low):
        figure.add_scatter(
            x=[1, length, length, 1],
            y=[low, low, high, high],
            mode="lines",
            line_width=0,
            fill="toself",
            fillcolor=SHADE,
            name="range of the mean in training",
            hoverinfo="skip",
        )


def _draw_marks(figure: go.Figure, profile: xr.Dataset) -> int:
    """Mark trained length and onset; return the number of labels above them, one line each."""
    length, known = profile.attrs["length"], [name for name in MARKS if math.isfinite(float(profile[name]))]
    low, high = float(profile.onset_low), float(profile.onset_high)
    interval = math.isfinite(low) and math.isfinite(high)
    if "onset" in known and interval and low < high:
        panel = {"yref": "y domain", "y0": 0, "y1": 1, "layer": "below"}
        figure.add_shape(type="rect", **panel, x0=low, x1=high, fillcolor=SHADE, line_width=0)
    for row, name in enumerate(known):
        value = float(profile[name])
        text = f"{'drifts from lag' if name == 'onset' else profile.reach.attrs['long_name']} {value:,.0f}"
        if name == "onset" and interval and low < high:
            text += f" (95 % interval {low:,.0f} to {high:,.0f})"
        right = value**2 > length  # of the middle of the axis: the label goes where there is more room
        top = 1 + (row + 0.9) * ROW / INSIDE
        line = {"color": LINE, "width": 1.6, "dash": MARKS[name]}
        figure.add_shape(type="line", x0=value, x1=value, y0=0, y1=top, yref="y domain", line=line)
        figure.add_annotation(
            text=text,
            x=math.log10(value),
            xanchor="right" if right else "left",
            xshift=-4 if right else 4,
            y=1,
            yref="paper",
            yanchor="bottom",
            yshift=ROW * row,
            borderpad=0,
            showarrow=False,
        )
    return len(known)


def _lay_out(figure: go.Figure, profile: xr.Dataset, labels: int) -> None:
    length, top = profile.attrs["length"], TOP + labels * ROW
    figure.update_layout(
        template=TEMPLATE,
        meta=pickable({}, numbered=False, zoom="lags"),
        height=top + INSIDE + BOTTOM,
        margin={"t": top, "b": BOTTOM},
        title={"text": _title(profile), "x": 0.01, "y": 1, "yanchor": "top", "pad_t": 12, "font_size": 15},
        legend={"y": -0.19, "yanchor": "top", "font_size": 12},
        hovermode="x unified",
        xaxis={
            "title": f"lag ({profile.lag.attrs['units']})",
            "type": "log",
            "range": [0, math.log10(length)],
            "dtick": math.log10(2 if length <= 2**13 else 4),
            "tickformat": ",d",
            "hoverformat": ",d",
            "tickangle": 0,
        },
        yaxis={"title": f"contribution ({profile['mean'].attrs['units']})", "zeroline": True},
    )


def _title(profile: xr.Dataset) -> str:
    attrs, period = profile.attrs, float(profile.period)
    turn = f", period {period:,.0f} tokens" if math.isfinite(period) else ""
    place = f"layer {attrs['layer']}, head {attrs['query_head']}, pair {attrs['pair']}"
    return f"{plain_text(attrs['model'])}: {place}{turn}"
