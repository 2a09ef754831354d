"""Periods of settings, pair by pair: in pretraining and as tuned, against the lengths that they meet."""

import math

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import COLOURS, LINE, TEMPLATE, plain_text

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
    traces: list[go.Scatter] = []
    for index, name in enumerate(map(plain_text, compared.setting.values)):
        style = {
            "color": COLOURS[index % len(COLOURS)],
            "width": line_width(index, compared.sizes["setting"]),
        }
        traces += _draw_setting(compared.isel(setting=index), name, style)
    levels = [
        mark_level(value, f"{text}: {value:,.0f}", dash) for value, text, dash in _list_lengths(compared)
    ]
    unit = compared.period.attrs["units"]
    layout = go.Layout(
        template=TEMPLATE,
        height=460,
        shapes=[line for line, _ in levels],
        annotations=[text for _, text in levels],
        xaxis={"title": compared.pair.attrs["long_name"]},
        yaxis={"title": f"period ({unit})", "type": "log", "dtick": 1, "tickformat": ",d"},
    )
    return go.Figure(traces, layout)


def _draw_setting(setting: xr.Dataset, name: str, style: dict) -> list[go.Scatter]:
    pairs, shared = setting.pair.values.astype("int32"), {"name": name, "legendgroup": name}
    lines = [
        go.Scatter(
            x=pairs,
            y=np.where(np.isfinite(setting[variable].values), setting[variable].values, np.nan).astype(
                "float32"
            ),
            mode="lines",
            line=style | line,
            showlegend=variable == "period",
            hovertemplate=f"pair %{{x}}: {setting[variable].attrs['long_name']} %{{y:,.0f}} tokens",
            **shared,
        )
        for variable, line in (("pretrain_period", {"dash": "dash", "width": 1.5}), ("period", {}))
    ]
    critical = np.flatnonzero((pairs == float(setting.critical_pair)) & np.isfinite(setting.period.values))
    diamond = go.Scatter(
        x=pairs[critical],
        y=setting.period.values[critical].astype("float32"),
        mode="markers",
        marker={"color": style["color"], "size": 10 + style["width"], "symbol": "diamond"},
        showlegend=False,
        hovertemplate="critical pair %{x}: %{y:,.0f} tokens",
        **shared,
    )
    return [*lines, diamond]


def _list_lengths(compared: xr.Dataset) -> list[tuple[float, str, str]]:
    """List each length once: value, what it is, and the dash of its line."""
    found: dict[float, list[str]] = {}
    for name in LENGTHS:
        for value in compared[name].values:
            if math.isfinite(value) and name not in found.setdefault(float(value), []):
                found[float(value)].append(name)
    meaning = {name: compared[name].attrs["long_name"] for name in LENGTHS}
    return [
        (value, " and ".join(meaning[name] for name in names), LENGTHS[names[0]])
        for value, names in sorted(found.items())
    ]


def mark_level(value: float, text: str, dash: str) -> tuple[dict, dict]:
    """Make a line across a figure at a value of its logarithmic y axis, and a text above its left end."""
    line = {"color": LINE, "width": 1.2, "dash": dash}
    shape = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "line": line}
    left = {"xref": "paper", "x": 0.005, "xanchor": "left", "y": math.log10(value), "yanchor": "bottom"}
    return shape, left | {"text": text, "font": {"size": 12}, "showarrow": False}


def line_width(index: int, settings: int) -> float:
    """Give earlier lines more width, so that they show under later ones that lie on them."""
    return 2.5 + 1.5 * (settings - 1 - index)
