"""Seen and unseen lags of every pair as bands, with its reach and its period."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.errors import ConfigError
from ropediag.plots.style import BEFORE, BEFORE_BAND, INK, LINE, PAST, TEMPLATE

HEIGHT, ROOM = 560, 160  # pixels of the figure, and of what is not bands
BAND = 0.7  # of a row
LIMITS = {"first_reach": "dot", "predicted_limit": "dash", "measured_limit": "solid"}


def plot_seen_lags(
    seen: xr.Dataset, layer: int | None = None, measured_limit: float | None = None
) -> go.Figure:
    """Draw the lags of the pairs of one layer on a logarithmic axis: seen ones pale, unseen ones strong.

    Parameters
    ----------
    seen : as ``ropediag.analysis.seen_lags.measure_seen_lags`` gives it
    layer : by its coordinate; the first that rotates if None
    measured_limit : of the loss, tokens, marked beside the predicted one

    Returns
    -------
    go.Figure
        A circle is the reach of a pair, a diamond its period.

    Raises
    ------
    ConfigError
        If the layer has no rotary pairs.
    """
    turning = np.isfinite(seen.period.values).any(1)
    one = seen.sel(layer=layer) if layer is not None else seen.isel(layer=int(turning.argmax()))
    one = one.isel(pair=np.flatnonzero(~np.isnan(one.period.values)))
    if not one.sizes["pair"]:
        raise ConfigError(f"layer {int(one.layer)} has no rotary pairs: choose one that rotates.")
    length = int(seen.attrs["length"])
    limits = {name: float(seen[name]) for name in ("first_reach", "predicted_limit")}
    limits["measured_limit"] = np.nan if measured_limit is None else float(measured_limit)
    reach = one.reach.values
    least = np.nanmin([length / 4, *reach[np.isfinite(reach)], *limits.values()])
    start = float(max(1, 2 ** np.floor(np.log2(least / 4))))
    figure = go.Figure([*_draw_bands(one, start, length), *_draw_marks(one, start, length)])
    _mark_limits(figure, limits)
    return figure.update_layout(
        template=TEMPLATE,
        height=HEIGHT,
        margin={"t": 70},
        xaxis={
            "title": f"lag (tokens), layer {int(one.layer)}",
            "type": "log",
            "range": [np.log10(start), np.log10(length)],
            "dtick": np.log10(4),
            "tickformat": ",d",
            "showgrid": False,
        },
        yaxis={
            "title": one.pair.attrs["long_name"],
            "autorange": "reversed",
            "showgrid": False,
            "zeroline": False,
        },
        legend={"orientation": "h", "y": -0.18},
    )


def _draw_bands(one: xr.Dataset, start: float, length: int) -> list[go.Scatter]:
    """Draw a pale line for each pair, and strong ones over the lags that training never showed it."""
    pairs = one.pair.values
    width = BAND * (HEIGHT - ROOM) / len(pairs)
    begin, end = one.unseen_start.values, one.unseen_stop.values
    place = np.argwhere(np.isfinite(begin))
    stretches = np.array([[begin[at], end[at], np.nan] for at in map(tuple, place)]).ravel()
    pale = go.Scatter(
        x=np.tile([start, length, np.nan], len(pairs)),
        y=np.repeat(pairs, 3),
        mode="lines",
        line={"width": width, "color": BEFORE_BAND},
        name="seen in training",
        hoverinfo="skip",
    )
    strong = go.Scatter(
        x=stretches,
        y=np.repeat(pairs[place[:, 0]], 3),
        mode="lines",
        line={"width": width, "color": PAST},
        name="never seen",
        hovertemplate="pair %{y}: %{x:,.0f}",
    )
    return [pale, strong]


def _draw_marks(one: xr.Dataset, start: float, length: int) -> list[go.Scatter]:
    """Draw reach and period of each pair, where they lie in the figure."""
    marks = []
    for variable, symbol, colour, name in (
        ("reach", "circle", BEFORE, "trained reach"),
        ("period", "diamond-open", INK, "period"),
    ):
        values = one[variable].values
        shown = np.isfinite(values) & (values >= start) & (values <= length)
        marks.append(
            go.Scatter(
                x=values[shown],
                y=one.pair.values[shown],
                mode="markers",
                marker={"symbol": symbol, "color": colour, "size": 7},
                name=name,
                hovertemplate=f"pair %{{y}}: {name} %{{x:,.0f}} tokens",
            )
        )
    return marks


def _mark_limits(figure: go.Figure, limits: dict[str, float]) -> None:
    """Add a line and a text for each limit that is there."""
    for index, (name, value) in enumerate(limits.items()):
        if np.isfinite(value):
            figure.add_vline(x=value, line={"color": LINE, "width": 1.4, "dash": LIMITS[name]})
            figure.add_annotation(
                text=f"{name.replace('_', ' ')} {value:,.0f}",
                x=np.log10(value),
                xanchor="left",
                y=1,
                yref="paper",
                yanchor="bottom",
                yshift=14 * index + 2,
                showarrow=False,
                font_color=LINE,
            )
