"""The attention map of a kept head: queries down, keys across, both in tokens."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import DIVERGING, TEMPLATE

HEIGHT = 720


def plot_score_map(measured: xr.Dataset) -> go.Figure:
    """Draw the logits of a rectangle of queries x keys, two ways around zero; what no query sees is empty.

    Parameters
    ----------
    measured : from ``map_scores``, with or without the texts of ``add_text``

    Returns
    -------
    go.Figure
        ``layout.meta`` holds, for each of ``query`` and ``key``, ``first`` (first position of each cell),
        ``step`` (positions of a cell) and, if there is one, ``text`` (before the token, the token, after it).
    """
    logit = measured.logit.values
    finite = np.abs(logit[np.isfinite(logit)])
    reach = float(finite.max()) if finite.size else 1.0
    values = measured.logit.attrs
    sides = {side: _place_cells(measured, side) for side in ("query", "key")}
    figure = go.Figure(
        go.Heatmap(
            x=sides["key"]["middle"],
            y=sides["query"]["middle"],
            z=logit,
            colorscale=DIVERGING,
            zmin=-reach,
            zmax=reach,
            colorbar={"title": {"text": values["long_name"], "side": "right"}, "thickness": 14},
            hovertemplate="query %{y}, key %{x}<br>%{z:.4g}<extra></extra>",
            hoverongaps=False,
        )
    )
    return figure.update_layout(
        template=TEMPLATE,
        title=f"Layer {measured.layer}, head {measured.query_head}, sequence {measured.sequence}",
        height=HEIGHT,
        meta={side: found["meta"] for side, found in sides.items()},
        xaxis={
            "title": {"text": "key (position, tokens)"},
            "range": sides["key"]["range"],
            "showgrid": False,
        },
        yaxis={
            "title": {"text": "query (position, tokens)"},
            "range": sides["query"]["range"][::-1],
            "showgrid": False,
        },
    )


def _place_cells(measured: xr.Dataset, side: str) -> dict:
    """Place the cells of one side: middles, the range of the axis, and what is known of them."""
    first, step = measured[side].values, int(measured[side].attrs["step"])
    meta = {"first": first.tolist(), "step": step}
    if f"{side}_text" in measured.coords:
        meta["text"] = measured[f"{side}_text"].values.tolist()
    middle = first.astype(np.float32) + np.float32((step - 1) / 2)
    return {"middle": middle, "range": [int(first[0]) - 0.5, int(first[-1]) + step - 0.5], "meta": meta}
