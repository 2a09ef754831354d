"""The operating curve of a detector: shares found and right, by the size of what was planted."""

import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import COLOURS, TEMPLATE


def plot_operating_curve(curve: xr.Dataset) -> go.Figure:
    """Draw every variable of a curve over its one axis.

    Parameters
    ----------
    curve : shares from 0 to 1 over ``size``, each with ``long_name``; the axis with ``units`` too

    Returns
    -------
    go.Figure
    """
    figure = go.Figure()
    for index, (name, values) in enumerate(curve.data_vars.items()):
        figure.add_scatter(
            x=curve["size"].values,
            y=values.values,
            mode="lines+markers",
            line={"color": COLOURS[index % len(COLOURS)], "dash": ("solid", "dash", "dot")[index % 3]},
            name=values.attrs.get("long_name", str(name)),
        )
    axis = curve["size"].attrs
    figure.update_layout(
        template=TEMPLATE,
        height=380,
        legend={"orientation": "v", "x": 0.98, "xanchor": "right", "y": 0.05},
        margin_t=20,
        xaxis_title_text=f"{axis['long_name']} ({axis['units']})",
        yaxis={"title": {"text": "share"}, "tickformat": ".0%", "range": [-0.02, 1.03]},
    )
    return figure
