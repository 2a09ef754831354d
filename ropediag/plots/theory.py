"""Periods of settings, pair by pair: in pretraining and as tuned, against the lengths that they meet."""

import math

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import COLOURS, LINE, TEMPLATE

LENGTHS = {"train_len": "dash", "tune_len": "dot", "target_len": "solid"}


def plot_theory(compared: xr.Dataset) -> go.Figure:
    """Draw the period of every pair; a pair is trained where its dashed line is below the training length.

    Parameters
    ----------
    compared : as ``ropediag.analysis.theory.compare_theory`` gives it

    Returns
    -------
    go.Figure
        For each setting a dashed line (pretraining), a solid one (as tuned) and on it a diamond, the critical
        pair; lengths are horizontal lines.
    """
    figure = go.Figure()
    for index, name in enumerate(map(str, compared.setting.values)):
        style = {
            "color": COLOURS[index % len(COLOURS)],
            "width": line_width(index, compared.sizes["setting"]),
        }
        _draw_setting(figure, compared.sel(setting=name), name, style)
    _draw_lengths(figure, compared)
    unit = compared.period.attrs["units"]
    return figure.update_layout(
        template=TEMPLATE,
        height=460,
        xaxis={"title": compared.pair.attrs["long_name"]},
        yaxis={"title": f"period ({unit})", "type": "log", "dtick": 1, "tickformat": ",d"},
    )


def _draw_setting(figure: go.Figure, setting: xr.Dataset, name: str, style: dict) -> None:
    pairs, shared = setting.pair.values.astype("int32"), {"name": name, "legendgroup": name}
    for variable, line in (("pretrain_period", {"dash": "dash", "width": 1.5}), ("period", {})):
        periods = setting[variable]
        figure.add_scatter(
            x=pairs,
            y=np.where(np.isfinite(periods.values), periods.values, np.nan).astype("float32"),
            mode="lines",
            line=style | line,
            showlegend=variable == "period",
            hovertemplate=f"pair %{{x}}: {periods.attrs['long_name']} %{{y:,.0f}} {periods.attrs['units']}",
            **shared,
        )
    critical = np.flatnonzero((pairs == float(setting.critical_pair)) & np.isfinite(setting.period.values))
    figure.add_scatter(
        x=pairs[critical],
        y=setting.period.values[critical].astype("float32"),
        mode="markers",
        marker={"color": style["color"], "size": 10 + style["width"], "symbol": "diamond"},
        showlegend=False,
        hovertemplate="critical pair %{x}: %{y:,.0f} tokens",
        **shared,
    )


def _draw_lengths(figure: go.Figure, compared: xr.Dataset) -> None:
    """Draw each length once, named by all that have it."""
    found: dict[float, list[str]] = {}
    for name in LENGTHS:
        for value in compared[name].values:
            if math.isfinite(value) and name not in found.setdefault(float(value), []):
                found[float(value)].append(name)
    for value in sorted(value for value, names in found.items() if names):
        names = found[value]
        text = " and ".join(compared[name].attrs["long_name"] for name in names)
        mark_level(figure, value, f"{text}: {value:,.0f}", LENGTHS[names[0]])


def mark_level(figure: go.Figure, value: float, text: str, dash: str) -> None:
    """Draw a line across a figure at a value of its logarithmic y axis, its text above the left end."""
    line = {"color": LINE, "width": 1.2, "dash": dash}
    figure.add_shape(type="line", xref="paper", x0=0, x1=1, y0=value, y1=value, line=line)
    figure.add_annotation(
        text=text,
        xref="paper",
        x=0.005,
        xanchor="left",
        y=math.log10(value),
        yanchor="bottom",
        font_size=12,
        showarrow=False,
    )


def line_width(index: int, settings: int) -> float:
    """Give earlier lines more width, so that they show under later ones that lie on them."""
    return 2.5 + 1.5 * (settings - 1 - index)
