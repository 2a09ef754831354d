"""The law as a curve: the limit over the base that a model is tuned with."""

import math

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import COLOURS, TEMPLATE
from ropediag.plots.theory import line_width, mark_level

TICKS = 2 ** np.arange(4, 31)  # tokens; plotly shows those in range


def plot_base_limit(law: xr.Dataset) -> go.Figure:
    """Draw the limit over the base, one line a setting, its critical base dotted and itself as a circle.

    Parameters
    ----------
    law : as ``ropediag.analysis.theory.follow_law`` gives it

    Returns
    -------
    go.Figure
        Both axes logarithmic; a gap is a base for which there is no bound of this kind.
    """
    figure = go.Figure()
    for index, name in enumerate(map(str, law.setting.values)):
        style = {"color": COLOURS[index % len(COLOURS)], "width": line_width(index, law.sizes["setting"])}
        _draw_setting(figure, law.sel(setting=name), name, style)
    for target in np.unique(law.target_len.values[np.isfinite(law.target_len.values)]):
        mark_level(figure, float(target), f"{law.target_len.attrs['long_name']}: {target:,.0f}", "solid")
    return figure.update_layout(
        template=TEMPLATE,
        height=420,
        xaxis={
            "title": f"{law.curve_base.attrs['long_name']}",
            "type": "log",
            "dtick": 1,
            "exponentformat": "power",
        },
        yaxis={
            "title": f"{law.limit.attrs['long_name']} ({law.limit.attrs['units']})",
            "type": "log",
            **_choose_ticks(law.limit.values),
        },
    )


def _draw_setting(figure: go.Figure, setting: xr.Dataset, name: str, style: dict) -> None:
    figure.add_scatter(
        x=setting.curve_base.values.astype("float32"),
        y=setting.limit.values.astype("float32"),
        mode="lines",
        line=style,
        name=name,
        legendgroup=name,
        hovertemplate="base %{x:,.4g}: limit %{y:,.0f} tokens",
    )
    figure.add_scatter(
        x=setting.own_base.values.reshape(1).astype("float32"),
        y=setting.own_limit.values.reshape(1).astype("float32"),
        mode="markers",
        marker={"color": style["color"], "size": 8 + style["width"]},
        name=name,
        legendgroup=name,
        showlegend=False,
        hovertemplate="as set: base %{x:,.4g}, limit %{y:,.0f} tokens",
    )
    if math.isfinite(float(setting.critical_base)):
        line = {"color": style["color"], "width": 1.2, "dash": "dot"}
        at = {"x0": float(setting.critical_base), "x1": float(setting.critical_base)}
        figure.add_shape(type="line", yref="paper", y0=0, y1=1, line=line, **at)


def _choose_ticks(limits: np.ndarray) -> dict:
    """Label powers of two, so few that they stand apart."""
    known = limits[np.isfinite(limits)]
    if not len(known):
        return {}
    within = TICKS[(known.min() / 2 <= TICKS) & (known.max() * 2 >= TICKS)]
    shown = within[:: max(1, -(-len(within) // 10))]
    return {"tickvals": shown.astype("float32"), "ticktext": [f"{tick:,}" for tick in shown]}
