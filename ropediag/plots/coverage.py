"""Coverage of settings, pair by pair: the share of a turn that training showed, and what a target adds."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import COLOURS, TEMPLATE, plain_text
from ropediag.plots.theory import line_width


def plot_coverage(compared: xr.Dataset) -> go.Figure:
    """Draw coverage as lines, and what is new at the target as an area.

    Parameters
    ----------
    compared : as ``ropediag.analysis.theory.compare_theory`` gives it

    Returns
    -------
    go.Figure
        For each setting a dashed line (pretraining), a solid one (tuning too), an area if it has a target.
    """
    traces: list[go.Scatter] = []
    pairs = compared.pair.values.astype("int32")
    for index, name in enumerate(map(plain_text, compared.setting.values)):
        setting, colour = compared.isel(setting=index), COLOURS[index % len(COLOURS)]
        wide = line_width(index, compared.sizes["setting"])
        shared = {"x": pairs, "name": name, "legendgroup": name}
        for variable, dash, width in (("pretrain_coverage", "dash", 1.5), ("coverage", "solid", wide)):
            line = go.Scatter(
                y=setting[variable].values.astype("float32"),
                mode="lines",
                line={"color": colour, "dash": dash, "width": width},
                showlegend=variable == "coverage",
                hovertemplate=f"pair %{{x}}: {setting[variable].attrs['long_name']} %{{y:.2f}}",
                **shared,
            )
            traces.append(line)
        if np.isfinite(setting.new_fraction.values).any():
            area = go.Scatter(
                y=setting.new_fraction.values.astype("float32"),
                mode="lines",
                line={"color": colour, "width": 0, "shape": "hvh"},
                fill="tozeroy",
                showlegend=False,
                hovertemplate=f"pair %{{x}}: {setting.new_fraction.attrs['long_name']} %{{y:.2f}}",
                **shared,
            )
            traces.append(area)
    layout = go.Layout(
        template=TEMPLATE,
        height=340,
        xaxis={"title": compared.pair.attrs["long_name"]},
        yaxis={"title": "share of a turn", "range": [0, 1.05]},
    )
    return go.Figure(traces, layout)
