"""Any diagnostic as a figure: a curve where it has one axis, a map where it has more.

The last axis of the variable that a diagnostic shows runs across; all others together run down, one row
for each of their combinations. Texts are read from the arrays.
"""

import textwrap
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

SCALE = "Purples"
DIVERGING = "PuOr"
INK, LINE, GRID = "#1a1a1a", "#5e3c99", "#ececec"
ROW, LEAST, MOST = 9, 220, 900  # pixels: one row of a map; least and largest height of the drawing area


def plot_diagnostic(measured: xr.Dataset, variable: str | None = None) -> go.Figure:
    """Draw one variable of a diagnostic.

    Parameters
    ----------
    measured : what a ``ropediag.analysis.diagnostic.Diagnostic`` returned
    variable : which one; the one it shows if None

    Returns
    -------
    go.Figure
    """
    array = measured[variable or measured.attrs["shows"]]
    values = array.astype(float)
    across = str(array.dims[-1])
    figure = go.Figure(_draw_curve(values) if array.ndim == 1 else _draw_map(values))
    height = LEAST + 60 if array.ndim == 1 else int(np.clip(ROW * _row_count(array), LEAST, MOST))
    question = "<br>".join(textwrap.wrap(measured.attrs["question"], 90))
    figure.update_layout(
        title={"text": question, "x": 0.01, "font_size": 15},
        width=860,
        height=height + 140,
        margin={"t": 80, "l": 90, "r": 20, "b": 60},
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"family": "Helvetica, Arial, sans-serif", "size": 13, "color": INK},
        xaxis={"title": _axis_title(array, across), "gridcolor": GRID},
        yaxis={"title": _title(array) if array.ndim == 1 else " . ".join(map(str, array.dims[:-1]))},
    )
    return figure


def _draw_curve(array: xr.DataArray) -> go.Scatter:
    x = _coordinate(array, str(array.dims[0]))
    return go.Scatter(x=x, y=array.values, mode="lines+markers", line={"color": LINE}, name=_title(array))


def _draw_map(array: xr.DataArray) -> go.Heatmap:
    """Stack all axes but the last one; around zero the colours go two ways."""
    finite = array.values[np.isfinite(array.values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    signed = low < 0 < high
    reach = max(-low, high)
    down = [str(dim) for dim in array.dims[:-1]]
    rows = array.stack(row=down)
    labels = [" . ".join(map(_label, index)) for index in rows.row.values]
    return go.Heatmap(
        x=[_label(value) for value in _coordinate(array, str(array.dims[-1]))],
        y=labels,
        z=rows.transpose("row", array.dims[-1]).values,
        zmin=-reach if signed else low,
        zmax=reach if signed else high,
        colorscale=DIVERGING if signed else SCALE,
        colorbar={"title": {"text": "<br>".join(textwrap.wrap(_title(array), 24))}},
        hovertemplate=f"{' . '.join(down)} %{{y}}<br>{array.dims[-1]} %{{x}}<br>%{{z:.4g}}<extra></extra>",
    )


def _label(value: Any) -> str:
    """A coordinate's value as a category of an axis."""
    return value if isinstance(value, str) else f"{value:,.10g}"


def _row_count(array: xr.DataArray) -> int:
    return int(np.prod([array.sizes[dim] for dim in array.dims[:-1]]))


def _coordinate(array: xr.DataArray, dim: str) -> np.ndarray:
    return array[dim].values if dim in array.coords else np.arange(array.sizes[dim])


def _axis_title(array: xr.DataArray, dim: str) -> str:
    attrs = array[dim].attrs if dim in array.coords else {}
    unit = attrs.get("units", "1")
    return attrs.get("long_name", dim) + ("" if unit == "1" else f" ({unit})")


def _title(array: xr.DataArray) -> str:
    unit = array.attrs["units"]
    return array.attrs["long_name"] + ("" if unit == "1" else f" ({unit})")
