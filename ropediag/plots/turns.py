"""Drift by turns: what each pair of untuned models did past training, by what training showed of it."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import COLOURS, FAINT, LINE, TEMPLATE
from ropediag.unseen_swing import unseen_swing

HEIGHT = 460
RIGHT = {"overlaying": "y", "side": "right", "showgrid": False, "tickmode": "auto"}  # a second axis
SHOWN = (0.04, 8.0)  # turns


def plot_drift_by_turns(table: xr.Dataset) -> go.Figure:
    """Draw the drift of every pair of the untuned models over the turns it made in pretraining.

    Parameters
    ----------
    table : of a study that captures its models, as ``open_study`` gives it

    Returns
    -------
    go.Figure
        One colour for each base of pretraining; the grey curve, on the axis at the right, is the swing that a
        cosine of random phase has left to show, in amplitudes. The turns are on a logarithmic axis.
    """
    parents = table.isel(model=np.flatnonzero(~table.tuned.values.astype(bool)))
    figure = go.Figure()
    for index, base in enumerate(np.unique(parents.pretrain_base.values)):
        rows = parents.isel(model=np.flatnonzero(parents.pretrain_base.values == base))
        turns = (rows.train_len / rows.period).transpose("model", "pair").values.ravel()
        drift = rows.drift.transpose("model", "pair").values.ravel()
        names = np.repeat(rows.model.values, rows.sizes["pair"])
        shown = np.isfinite(drift) & (turns >= SHOWN[0]) & (turns <= SHOWN[1])
        figure.add_scatter(
            x=turns[shown],
            y=drift[shown],
            mode="markers",
            marker={"color": COLOURS[index % len(COLOURS)], "size": 6, "opacity": 0.7},
            name=f"pretrained with base {base:,.0f}",
            text=names[shown],
            hovertemplate="%{text}<br>%{x:.2f} turns: %{y:.2f} in-range std<extra></extra>",
        )
    curve = np.geomspace(*SHOWN, 160)
    figure.add_scatter(
        x=curve,
        y=unseen_swing(curve),
        yaxis="y2",
        mode="lines",
        line={"color": FAINT, "dash": "dot"},
        name="swing left to show (right)",
        hovertemplate="%{x:.2f} turns: %{y:.2f} amplitudes<extra></extra>",
    )
    figure.add_hline(y=table.drift.attrs["least"], line={"color": LINE, "width": 1, "dash": "dash"})
    figure.add_vline(x=1.0, line={"color": LINE, "width": 1, "dash": "dash"})
    figure.update_layout(
        template=TEMPLATE,
        height=HEIGHT,
        xaxis={"type": "log", "title": {"text": "turns within the training length"}, "dtick": "D2"},
        yaxis={"title": {"text": "drift (in-range std)"}, "rangemode": "tozero"},
        yaxis2={"title": {"text": "amplitudes"}, "rangemode": "tozero", **RIGHT},
    )
    return figure


def plot_damage_by_turns(table: xr.Dataset, multiple: float) -> go.Figure:
    """Draw what chosen turns of the slowest pair cost: the excess past training, and the drift of that pair.

    Parameters
    ----------
    table : of a study of untuned models that captures them, as ``open_study`` gives it
    multiple : of the training length, at which the excess is read

    Returns
    -------
    go.Figure
        A dot a model, over the turns of its slowest pair in pretraining; the drift on the axis at the right.
    """
    period, drift = (table[name].transpose("model", "pair").values for name in ("period", "drift"))
    last = np.isfinite(period).sum(1) - 1
    models = np.arange(len(last))
    turns = table.train_len.values / period[models, last]
    excess = [
        float(row.excess.dropna("position").interp(position=multiple * float(row.train_len)))
        for row in (table.isel(model=index) for index in models)
    ]
    figure = go.Figure()
    for values, name, colour, symbol, axis in (
        (excess, f"excess at {multiple:g} x the training length", COLOURS[0], "circle", "y"),
        (drift[models, last], "drift of the slowest pair (right)", COLOURS[1], "diamond-open", "y2"),
    ):
        figure.add_scatter(
            x=turns,
            y=values,
            yaxis=axis,
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 10},
            name=name,
            text=table.model.values,
            hovertemplate="%{text}<br>%{x:.2f} turns: %{y:.2f}<extra></extra>",
        )
    figure.update_layout(
        template=TEMPLATE,
        height=HEIGHT,
        xaxis={"title": {"text": "turns of the slowest pair in pretraining"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "excess (nats per token)"}, "rangemode": "tozero"},
        yaxis2={"title": {"text": "drift (in-range std)"}, "rangemode": "tozero", **RIGHT},
    )
    return figure
