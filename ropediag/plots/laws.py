"""Laws side by side: how far each was from the limits it had not seen."""

import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import BEFORE, PAST, TEMPLATE

ROW = 44  # pixels a law
FIGURES = {"median": ("median", BEFORE, "circle"), "high": ("90th percentile", PAST, "diamond")}


def plot_laws(compared: xr.Dataset) -> go.Figure:
    """Draw the median and the 90th percentile of each law's error, with their intervals.

    Parameters
    ----------
    compared : as ``ropediag.analysis.laws.compare_laws`` gives it

    Returns
    -------
    go.Figure
        The axis is |log(measured / predicted)|; 0.1 is an error of a tenth.
    """
    figure = go.Figure()
    for name, (title, colour, symbol) in FIGURES.items():
        value = compared[name].values
        figure.add_scatter(
            x=value,
            y=compared.law.values,
            error_x={
                "symmetric": False,
                "array": compared[f"{name}_high"].values - value,
                "arrayminus": value - compared[f"{name}_low"].values,
            },
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 10},
            name=title,
            hovertemplate="%{y}: %{x:.3f}",
        )
    return figure.update_layout(
        template=TEMPLATE,
        height=120 + ROW * compared.sizes["law"],
        margin_l=190,
        xaxis={"title": {"text": "|log(measured / predicted)|"}, "rangemode": "tozero"},
        yaxis={"autorange": "reversed"},
    )
