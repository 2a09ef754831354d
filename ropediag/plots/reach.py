"""The reach of a study's models: measured limit by base, one colour for each model they were tuned from."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.law import HEIGHT, TOKENS, mark_limits
from ropediag.plots.style import COLOURS, TEMPLATE, plain_text


def plot_reach(table: xr.Dataset) -> go.Figure:
    """Draw the measured limit of every tuned model over its base; above the critical one the law as a line.

    Parameters
    ----------
    table : as ``ropediag.study.make_table`` gives it

    Returns
    -------
    go.Figure
        Both axes logarithmic; bars are the interval over sequences.
    """
    figure = go.Figure()
    if "parent" not in table:  # of an earlier version, which had one
        table = table.assign(parent=("model", ["tuned models"] * table.sizes["model"]))
    shown = table.where(table.tuned & np.isfinite(table.predicted), drop=True)
    for index, parent in enumerate(dict.fromkeys(shown.parent.values.tolist())):
        rows = shown.where(shown.parent == parent, drop=True).sortby("base")
        lawful = rows.where(rows.past_critical_base, drop=True)  # below, the law is a constant
        figure.add_scatter(
            x=lawful.base.values,
            y=lawful.predicted.values,
            mode="lines",
            line={"color": COLOURS[index % len(COLOURS)], "dash": "dash"},
            name=f"{plain_text(parent)}, the law",
        )
        points = mark_limits(rows, "base", index)
        figure.add_trace(
            points.update(name=plain_text(parent), hovertemplate="base %{x:,.0f}<br>%{y:,.0f} tokens")
        )
    base, measured = table.base.attrs, table.measured.attrs
    figure.update_layout(
        template=TEMPLATE,
        height=HEIGHT,
        xaxis={"type": "log", "title": {"text": base["long_name"]}, "dtick": 1, "tickformat": ",d"},
        yaxis={"title": {"text": f"measured limit ({measured['units']}s)"}, **TOKENS},
    )
    return figure
