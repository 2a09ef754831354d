"""The share repaired over the limit of the lags: in trained reaches of each pair, and in tokens."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

from ropediag.plots.style import COLOURS, GRID, LINE, TEMPLATE, pickable, plain_text

DASHES = {"clip": "dot", "fold": "solid"}
LEAST, WIDEST = (-0.1, 1.1), (-0.5, 1.5)  # shares that are always shown; ends of intervals that are
TITLES = ("in reaches of each pair", "in tokens")


def plot_reach_curves(curves: xr.Dataset) -> go.Figure:
    """Draw the share of the damage repaired over the limit of the lags, a line for each ablation.

    Parameters
    ----------
    curves : as ``ropediag.analysis.reach_curves.measure_reach_curves`` gives it

    Returns
    -------
    go.Figure
        Left over multiples of each pair's own trained reach, right over the limit of the pair with the
        smallest reach, tokens, on a logarithmic axis. Random pairs are crosses.
    """
    figure = make_subplots(1, 2, shared_yaxes=True, subplot_titles=TITLES, horizontal_spacing=0.05)
    colours = _choose_colours(curves)
    for row, name in enumerate(curves.ablation.values.tolist()):
        one = curves.sel(ablation=name)
        one = one.isel(at=np.isfinite(one.repaired.values))
        for column, unit in enumerate((1.0, one.smallest_reach.item()), start=1):
            for trace in _draw(one, one.at.values * unit, colours[row], column == 1):
                figure.add_trace(trace, row=1, col=column)
    for share in (0.0, 1.0):
        figure.add_hline(y=share, line={"color": LINE, "width": 1.2}, layer="below")
    figure.add_vline(x=1, line={"color": LINE, "width": 1.4, "dash": "dash"}, layer="below", row=1, col=1)
    ends = [curves[f"repaired{end}"].values.clip(*WIDEST).ravel() for end in ("_low", "_high")]
    shown = np.concatenate([*ends, LEAST])
    figure.update_yaxes(
        range=[float(np.nanmin(shown)), float(np.nanmax(shown))], tickformat=".0%", gridcolor=GRID
    )
    figure.update_yaxes(title=curves.repaired.attrs["long_name"], col=1)
    figure.update_xaxes(title=curves.at.attrs["long_name"], col=1)
    doublings = {"type": "log", "dtick": np.log10(2), "tickformat": ",.0f"}
    figure.update_xaxes(title="lag limit of the pair with the smallest reach (tokens)", **doublings, col=2)
    figure.update_layout(template=TEMPLATE, margin={"t": 110}, meta=pickable({}, {}), legend={"y": 1.12})
    return figure


def _draw(one: xr.Dataset, x: np.ndarray, colour: str, named: bool) -> list[go.Scatter]:
    share, low, high = (one[f"repaired{end}"].values for end in ("", "_low", "_high"))
    label = plain_text(_name(one))
    curve = go.Scatter(
        x=x,
        y=share.astype(np.float32),
        error_y={
            "array": high - share,
            "arrayminus": share - low,
            "color": colour,
            "thickness": 1,
            "width": 3,
        },
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": DASHES.get(one.kind.item(), "solid")},
        customdata=np.stack([low, high], -1),
        name=label,
        hovertemplate="%{y:.1%} (%{customdata[0]:.1%} to %{customdata[1]:.1%}) at %{x:.4~g}",
        legendgroup=label,
        showlegend=named,
    )
    if not np.isfinite(one.random_mean.values).any():
        return [curve]
    random = go.Scatter(
        x=x,
        y=one.random_mean.values.astype(np.float32),
        mode="markers",
        marker={"symbol": "x-thin-open", "color": colour, "size": 7},
        hovertemplate="%{y:.1%} at %{x:.4~g}<extra>random pairs</extra>",
        legendgroup=label,
        showlegend=False,
    )
    return [curve, random]


def _choose_colours(curves: xr.Dataset) -> list[str]:
    """Choose a colour by model and pairs; clip and fold of the same differ in their dashes."""
    owners = list(zip(curves.model.values.tolist(), curves.pairs.values.tolist(), strict=True))
    chosen = {owner: COLOURS[number % len(COLOURS)] for number, owner in enumerate(dict.fromkeys(owners))}
    return [chosen[owner] for owner in owners]


def _name(one: xr.Dataset) -> str:
    low, high = (one[f"{end}_reach"].item() for end in ("smallest", "largest"))
    reach = f"{low:,.0f}" if round(low) == round(high) else f"{low:,.0f} to {high:,.0f}"
    return f"{one.model.item()}, {one.kind.item()}, {one.pairs.item()}: reach {reach}"
