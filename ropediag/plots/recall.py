"""Recall by length and depth: one cell for each, from nothing found again (white) to all (dark)."""

import textwrap

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import BEFORE, INK, PAPER, TEMPLATE, ZERO, plain_text

SCALE = [(0.0, PAPER), (1.0, BEFORE)]


def plot_recall(recall: xr.Dataset) -> go.Figure:
    """Draw the share of right answers, each cell with its counts.

    Parameters
    ----------
    recall : as ``ropediag.analysis.recall.measure_recall_share`` gives it

    Returns
    -------
    go.Figure
        Lengths across, in equal steps; depths down, the beginning of the prompt on top. A line marks the
        training length: cells left of it lie within.
    """
    share, attrs = recall.share.transpose("depth", "length"), recall.attrs
    counts = [recall[name].transpose("depth", "length").values for name in ("hits", "count", "answer_lag")]
    lengths, depths = ([f"{value:,g}" for value in recall[dim].values] for dim in ("length", "depth"))
    figure = go.Figure(
        go.Heatmap(
            x=lengths,
            y=depths,
            z=share.values,
            zmin=0,
            zmax=1,
            colorscale=SCALE,
            xgap=1,
            ygap=1,
            customdata=np.stack(counts, axis=-1),
            text=[
                [f"{int(a)}/{int(b)}" for a, b in zip(*row, strict=True)]
                for row in zip(*counts[:2], strict=True)
            ],
            texttemplate="%{text}",
            hovertemplate="%{x} tokens, depth %{y}<br>%{customdata[0]} of %{customdata[1]} right<br>"
            "%{customdata[2]:,.0f} tokens back<extra></extra>",
            colorbar={"title": share.attrs["long_name"], "tickformat": ".0%"},
        )
    )
    inside = int((recall.length <= attrs["train_len"]).sum())
    if 0 < inside < recall.sizes["length"]:
        figure.add_vline(x=inside - 0.5, line={"color": INK, "dash": "dash", "width": 1.6})
    figure.update_layout(
        title={"text": _title(attrs), "x": 0.01},
        template=TEMPLATE,
        height=420,
        plot_bgcolor=ZERO,
        xaxis={"title": {"text": _axis_title(recall.length)}, "type": "category", "showgrid": False},
        yaxis={
            "title": {"text": _axis_title(recall.depth)},
            "type": "category",
            "autorange": "reversed",
            "showgrid": False,
        },
    )
    return figure


def _title(attrs: dict) -> str:
    model, task = plain_text(attrs["model"]), plain_text(attrs["task"])
    return f"{model}, base {attrs['base']:,.10g}: recall, {task}"


def _axis_title(axis: xr.DataArray) -> str:
    unit = f" ({axis.attrs['units']})" if axis.attrs["units"] != "1" else ""
    return "<br>".join(textwrap.wrap(axis.attrs["long_name"] + unit, 40))
