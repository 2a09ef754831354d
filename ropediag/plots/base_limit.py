"""The law as a curve: the limit over the base that a model is tuned with."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import COLOURS, TEMPLATE, plain_text
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
    traces: list[go.Scatter] = []
    targets = np.unique(law.target_len.values[np.isfinite(law.target_len.values)])
    meaning = law.target_len.attrs["long_name"]
    levels = [mark_level(float(target), f"{meaning}: {target:,.0f}", "solid") for target in targets]
    shapes = [shape for shape, _ in levels]
    for index, name in enumerate(map(plain_text, law.setting.values)):
        style = {"color": COLOURS[index % len(COLOURS)], "width": line_width(index, law.sizes["setting"])}
        traces += _draw_setting(law.isel(setting=index), name, style)
        shapes.append(_mark_base(float(law.critical_base[index]), COLOURS[index % len(COLOURS)]))
    limit = law.limit.attrs
    layout = go.Layout(
        template=TEMPLATE,
        height=420,
        shapes=shapes,
        annotations=[text for _, text in levels],
        xaxis={
            "title": law.curve_base.attrs["long_name"],
            "type": "log",
            "dtick": 1,
            "exponentformat": "power",
        },
        yaxis={
            "title": f"{limit['long_name']} ({limit['units']})",
            "type": "log",
            **_choose_ticks(law.limit.values),
        },
    )
    return go.Figure(traces, layout)


def _draw_setting(setting: xr.Dataset, name: str, style: dict) -> list[go.Scatter]:
    shared = {"name": name, "legendgroup": name}
    curve = go.Scatter(
        x=setting.curve_base.values.astype("float32"),
        y=setting.limit.values.astype("float32"),
        mode="lines",
        line=style,
        hovertemplate="base %{x:,.4g}: limit %{y:,.0f} tokens",
        **shared,
    )
    point = go.Scatter(
        x=setting.own_base.values.reshape(1).astype("float32"),
        y=setting.own_limit.values.reshape(1).astype("float32"),
        mode="markers",
        marker={"color": style["color"], "size": 8 + style["width"]},
        showlegend=False,
        hovertemplate="as set: base %{x:,.4g}, limit %{y:,.0f} tokens",
        **shared,
    )
    return [curve, point]


def _mark_base(base: float, colour: str) -> dict:
    line = {"color": colour, "width": 1.2, "dash": "dot"}
    return {"type": "line", "yref": "paper", "x0": base, "x1": base, "y0": 0, "y1": 1, "line": line}


def _choose_ticks(limits: np.ndarray) -> dict:
    """Label powers of two, so few that they stand apart."""
    known = limits[np.isfinite(limits)]
    if not len(known):
        return {}
    within = TICKS[(known.min() / 2 <= TICKS) & (known.max() * 2 >= TICKS)]
    shown = within[:: max(1, -(-len(within) // 10))]
    return {"tickvals": shown.astype("float32"), "ticktext": [f"{tick:,}" for tick in shown]}
