"""How long one pair's part of the queries and of the keys is, by position."""

import math

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import COLOURS, LINE, SHADE, TEMPLATE, pickable

CURVES = {"query_norm": COLOURS[3], "key_norm": COLOURS[2]}


def plot_pair_norms(lengths: xr.Dataset) -> go.Figure:
    """Draw both as steps over the bins of positions, each in a band of two standard errors to either side.

    Parameters
    ----------
    lengths : as ``ropediag.analysis.pair_profile.measure_pair_lengths`` gives it

    Returns
    -------
    go.Figure
    """
    figure, attrs = go.Figure(), lengths.attrs
    position = np.append(lengths.norm_bin.values, attrs["length"]).astype(np.int32)
    for name, colour in CURVES.items():
        mean, error = lengths[name].values, lengths[f"{name}_se"].values
        known = np.isfinite(mean) & np.isfinite(error)
        if known.any():
            x, high = _steps(position, mean + 2 * error, known)
            _, low = _steps(position, mean - 2 * error, known)
            outline = {"x": np.concatenate([x, x[::-1]]), "y": np.concatenate([high, low[::-1]])}
            area = {"mode": "lines", "line_width": 0, "fill": "toself", "fillcolor": SHADE}
            figure.add_scatter(**outline, **area, hoverinfo="skip", showlegend=False, legendgroup=name)
        figure.add_scatter(
            x=position,
            y=np.append(mean, mean[-1:]).astype(np.float32),
            mode="lines",
            line={"color": colour, "width": 2.5, "shape": "hv"},
            name=name.removesuffix("_norm"),
            legendgroup=name,
            hovertemplate="%{y:.3f}",
        )
    _mark_trained(figure, lengths)
    figure.update_layout(
        template=TEMPLATE,
        meta=pickable({}, numbered=False, zoom="positions"),
        height=320,
        margin={"t": 76},
        title={
            "text": f"layer {attrs['layer']}, head {attrs['query_head']} (key head {attrs['kv_head']}), "
            f"pair {attrs['pair']}",
            "x": 0.01,
            "y": 1,
            "yanchor": "top",
            "pad_t": 12,
            "font_size": 15,
        },
        hovermode="x unified",
        xaxis={
            "title": f"position ({lengths.norm_bin.attrs['units']})",
            "range": [0, attrs["length"]],
            "tickformat": ",d",
            "hoverformat": ",d",
        },
        yaxis={"title": "length (root mean square)", "rangemode": "tozero"},
    )
    return figure


def _steps(edges: np.ndarray, values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place each known value over its whole bin."""
    ends = np.stack([edges[:-1], edges[1:]], axis=1)[known]
    return ends.ravel(), np.repeat(values[known], 2).astype(np.float32)


def _mark_trained(figure: go.Figure, lengths: xr.Dataset) -> None:
    trained = float(lengths.trained)
    if math.isfinite(trained) and trained < lengths.attrs["length"]:
        figure.add_vline(x=trained, line={"color": LINE, "width": 1.6, "dash": "dash"})
        figure.add_annotation(
            text=f"{lengths.trained.attrs['long_name']} {trained:,.0f}",
            x=trained,
            xanchor="left",
            xshift=4,
            y=0,
            yref="paper",
            yanchor="bottom",
            showarrow=False,
        )
