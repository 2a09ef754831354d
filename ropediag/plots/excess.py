"""The excess of several models by position: where each leaves the loss of a short context."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.law import HEIGHT
from ropediag.plots.style import COLOURS, LINE, TEMPLATE, plain_text


def plot_excess(curves: xr.Dataset) -> go.Figure:
    """Draw one curve a model, position on a logarithmic axis.

    Parameters
    ----------
    curves : ``excess`` (model, position), with ``train_len`` and the ``threshold`` of a limit as attributes;
        as ``ropediag.analysis.excess_curves.measure_excess_curves`` gives it

    Returns
    -------
    go.Figure
    """
    excess, train_len = curves.excess, curves.attrs["train_len"]
    figure = go.Figure()
    for index, model in enumerate(excess.model.values):
        values = excess.sel(model=model)
        figure.add_scatter(
            x=values.position.values,
            y=values.values,
            mode="lines",
            line={"color": COLOURS[index % len(COLOURS)], "width": 2.5},
            name=plain_text(model),
        )
    figure.add_hline(y=curves.attrs["threshold"], line={"color": LINE, "dash": "dot", "width": 1.2})
    figure.add_vline(x=train_len, line={"color": LINE, "dash": "dash", "width": 1.2})
    ticks = train_len * 2.0 ** np.arange(-2, 24, 2)
    figure.update_layout(
        template=TEMPLATE,
        height=HEIGHT,
        xaxis={
            "type": "log",
            "title": {"text": f"{excess.position.attrs['long_name']} ({excess.position.attrs['units']})"},
            "tickvals": ticks,
            "ticktext": [f"{tick:,.0f}" for tick in ticks],
        },
        yaxis_title_text=f"{excess.attrs['long_name']}<br>({excess.attrs['units']})",
    )
    return figure
