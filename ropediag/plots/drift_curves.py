"""Drift by pair of several captures over each other, one colour each, with the critical pairs."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.overlay import DASHES, ROW
from ropediag.plots.style import COLOURS, LINE, TEMPLATE, pickable, plain_text


def plot_drift_curves(curves: xr.Dataset, variable: str = "largest") -> go.Figure:
    """Draw one curve a capture; a click on a point picks its pair.

    Parameters
    ----------
    curves : as ``ropediag.analysis.overlay.overlay_drifts`` gives it
    variable : ``largest`` of all heads, or ``mean`` over them

    Returns
    -------
    go.Figure
        Dashed lines stand before the critical pairs: pairs right of one made no full turn in pretraining.
    """
    values, pairs = curves[variable], curves.pair.values
    figure = go.Figure()
    for index, capture in enumerate(curves.capture.values):
        figure.add_scatter(
            x=pairs.astype(np.int32),
            y=values.sel(capture=capture).values.astype(np.float32),
            customdata=curves.drifting.sel(capture=capture).values.astype(np.float32),
            mode="lines+markers",
            line={
                "color": COLOURS[index % len(COLOURS)],
                "width": 2,
                "dash": DASHES[index // len(COLOURS) % len(DASHES)],
            },
            name=plain_text(capture),
            hovertemplate="pair %{x}: %{y:.3g}, drifts in %{customdata} heads",
        )
    for pair in np.unique(curves.critical_pair.values[np.isfinite(curves.critical_pair.values)]):
        figure.add_vline(x=float(pair) - 0.5, line={"color": LINE, "dash": "dash", "width": 1.2})
    title = f"{variable} drift ({values.attrs['units']})"
    return figure.update_layout(
        template=TEMPLATE,
        height=380,
        margin_t=20 + ROW * (1 + curves.sizes["capture"] // 3),
        meta=pickable({"pair": pairs}, numbered=False),
        xaxis={"title": {"text": curves.pair.attrs["long_name"]}},
        yaxis={"title": {"text": title}, "rangemode": "tozero"},
        showlegend=True,
    )
