"""The loss under an intervention by position, between that of the untouched model and that in windows."""

import math

import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import FAINT, INK, LINE, PAST, TEMPLATE, plain_text

LINES = {
    "nll": {"color": INK, "width": 2},
    "nll_windowed": {"color": FAINT, "width": 2},
    "nll_random": {"color": LINE, "width": 1.5, "dash": "dot"},
    "nll_changed": {"color": PAST, "width": 2.5},
}


def plot_repair_curves(curves: xr.Dataset) -> go.Figure:
    """Draw the losses over the position, on a logarithmic axis, with the trained length marked.

    Parameters
    ----------
    curves : as ``ropediag.analysis.repair_curves.measure_repair_curves`` gives it

    Returns
    -------
    go.Figure
    """
    figure = go.Figure()
    for name, line in LINES.items():
        if name in curves:
            figure.add_scatter(
                x=curves.position.values.astype("int32"),
                y=curves[name].values.astype("float32"),
                mode="lines",
                line=line,
                name=curves[name].attrs["long_name"],
                hovertemplate="%{y:.3f} at %{x:,d}",
            )
    trained = curves.attrs["trained"]
    figure.add_vline(x=trained, line={"color": LINE, "width": 1.4, "dash": "dash"}, layer="below")
    figure.add_annotation(
        text=f"trained length: {trained:,}",
        x=math.log10(trained),
        y=1,
        yref="paper",
        xanchor="right",
        yanchor="top",
        xshift=-4,
        showarrow=False,
        font_color=LINE,
    )
    position, loss = curves.position.attrs, curves.nll.attrs
    figure.update_layout(
        template=TEMPLATE,
        height=420,
        title={"text": plain_text(curves.attrs["model"]), "x": 0.01, "font_size": 15},
        margin={"t": 100},
        xaxis={
            "title": f"{position['long_name']} ({position['units']})",
            "type": "log",
            "dtick": math.log10(2),
            "tickformat": ",d",
        },
        yaxis={"title": f"loss ({loss['units']})"},
        legend={"traceorder": "reversed"},
    )
    return figure
