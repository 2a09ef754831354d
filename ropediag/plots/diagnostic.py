"""Any diagnostic as a figure: a curve where it has one axis, a map where it has more.

The last axis of a variable runs across and all others together down, one row for each of their combinations.
Pairs are the exception: they run down, slow ones below, and the heads across, since a model has many heads.
Texts are read from the arrays.
"""

import textwrap
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import LINE, PAST, TEMPLATE, pickable, plain_text, scale_colours

ROW, LEAST, MOST = 9, 240, 900  # pixels: one row of a map; least and largest height of the drawing area
TICKS = 17  # labels along an axis, at most
DOWN = "pair"  # the axis that runs down although it comes last


def plot_diagnostic(
    measured: xr.Dataset, variable: str | None = None, critical_pair: xr.DataArray | None = None
) -> go.Figure:
    """Draw one variable of a diagnostic.

    Parameters
    ----------
    measured : what a ``ropediag.analysis.diagnostic.Diagnostic`` returned
    variable : which one; the one it shows if None
    critical_pair : (layer) first pair past the critical dimension, or that of the one layer shown; drawn as a
        line where pairs are an axis

    Returns
    -------
    go.Figure
        Single cells of a map can be picked: ``layout.meta`` names their layer, head, pair or lag.
    """
    array = measured[variable or measured.attrs["shows"]].astype("float32")
    question = "<br>".join(textwrap.wrap(measured.attrs.get("question", ""), 90))
    figure = _draw_curve(array, critical_pair) if array.ndim == 1 else _draw_map(array, critical_pair)
    height = LEAST if array.ndim == 1 else int(np.clip(ROW * figure.data[0].z.shape[0], LEAST, MOST))
    return figure.update_layout(
        template=TEMPLATE,
        title={"text": question, "x": 0.01, "font_size": 15},
        width=860,
        height=height + 140,
        margin_t=80,
    )


def _draw_curve(array: xr.DataArray, critical_pair: xr.DataArray | None) -> go.Figure:
    (dim,) = map(str, array.dims)
    x = array[dim].values
    figure = go.Figure(go.Scatter(x=x, y=array.values, mode="lines+markers", name=_title(array)))
    if critical_pair is not None and dim == DOWN and not critical_pair.ndim and critical_pair >= 0:
        line = {"color": PAST, "width": 2.5, "dash": "dash"}
        figure.add_vline(float(critical_pair) - 0.5, line=line, annotation_text="critical pair")
    meta = pickable({dim: x}, numbered=False)
    return figure.update_layout(meta=meta, xaxis_title=_title(array[dim]), yaxis_title=_title(array))


def _draw_map(array: xr.DataArray, critical_pair: xr.DataArray | None) -> go.Figure:
    """Stack all axes but one; around zero the colours go two ways."""
    alone = str(array.dims[-1])
    stacked = [str(dim) for dim in array.dims[:-1]]
    values = array.values.reshape(-1, array.shape[-1])
    steps = np.meshgrid(*(array[dim].values for dim in stacked), indexing="ij")
    many = {dim: labels.ravel() for dim, labels in zip(stacked, steps, strict=True)}
    one = {alone: array[alone].values}
    across, down = (many, one) if alone == DOWN else (one, many)
    z = values.T if alone == DOWN else values
    finite = z[np.isfinite(z)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    place = f"{_name_cell(array, across, 'x')}, {_name_cell(array, down, 'y')}"
    figure = go.Figure(
        go.Heatmap(
            z=z,  # columns and rows are at 0, 1, 2, ...
            colorbar={"title": {"text": _short_title(array), "side": "top"}, "thickness": 14},
            hovertemplate=f"{place}<br>%{{z:.4g}}<extra></extra>",
            **scale_colours(low, high),
        )
    )
    figure.update_layout(
        meta=pickable(across, down),
        xaxis={"title": {"text": _axis_title(array, across)}, **_label_steps(across)},
        yaxis={"title": {"text": _axis_title(array, down)}, "autorange": "reversed", **_label_steps(down)},
    )
    if critical_pair is not None and alone == DOWN and ("layer" in many or not critical_pair.ndim):
        columns = critical_pair.sel(layer=many["layer"]) if critical_pair.ndim else critical_pair
        figure.add_trace(_draw_critical(np.broadcast_to(columns.values, z.shape[1]), one[DOWN]))
    return figure


def _draw_critical(critical: np.ndarray, pairs: np.ndarray) -> go.Scatter:
    """A line above the critical pair of each column: pairs below it made no full turn in pretraining."""
    height = np.where(critical >= 0, np.searchsorted(pairs, critical) - 0.5, np.nan)
    edges = np.arange(len(critical))[:, None] + np.array([-0.5, 0.5])
    return go.Scatter(
        x=edges.ravel().astype("float32"),
        y=np.repeat(height, 2).astype("float32"),
        mode="lines",
        line={"color": PAST, "width": 2.5, "dash": "dash"},
        name="critical pair",
        showlegend=True,
        hoverinfo="skip",
    )


def _label_steps(axis: dict[str, np.ndarray]) -> dict[str, Any]:
    """Name every step of an axis, and show some names: where the outer part changes if it has several.

    An alias stands for the number of its step in ticks and under the pointer alike, while clicks still give
    the number, and names a column once rather than in each of its cells.
    """
    names, labels = list(axis), list(zip(*axis.values(), strict=True))
    places = list(range(len(labels)))
    if len(names) > 1 and len(labels) > TICKS:
        outer = axis[names[0]]
        places = [step for step in places if step == 0 or outer[step] != outer[step - 1]]
    places = places[:: -(-len(places) // TICKS)]
    text = {_write_step(step): " . ".join(map(_label, label)) for step, label in enumerate(labels)}
    return {
        "tickmode": "array",
        "tickvals": np.array(places, np.int32),
        "exponentformat": "none",
        "labelalias": {step: name for step, name in text.items() if step != name},
        "showgrid": False,
        "zeroline": False,
        "linecolor": LINE,
    }


def _write_step(step: int) -> str:
    """The number of a step as plotly writes it, which parts thousands from five digits on."""
    return f"{step:,}" if step >= 10_000 else str(step)


def _name_cell(array: xr.DataArray, axis: dict[str, np.ndarray], value: str) -> str:
    """Say under the pointer which layer, head, pair or lag a column or row is."""
    unit = array[next(iter(axis))].attrs.get("units", "1") if len(axis) == 1 else "1"
    return f"{_axis_name(axis)} %{{{value}}}" + ("" if unit == "1" else f" {unit}")


def _axis_name(axis: dict[str, np.ndarray]) -> str:
    return " . ".join(name.replace("query_head", "head").replace("_", " ") for name in axis)


def _axis_title(array: xr.DataArray, axis: dict[str, np.ndarray]) -> str:
    return _title(array[next(iter(axis))]) if len(axis) == 1 else _axis_name(axis)


def _label(value: Any) -> str:
    return plain_text(value) if isinstance(value, str) else f"{value:,.10g}"


def _title(array: xr.DataArray) -> str:
    unit = array.attrs.get("units", "1")
    text = str(array.attrs.get("long_name", array.name)) + ("" if unit == "1" else f" ({unit})")
    return "<br>".join(textwrap.wrap(text, 44))


def _short_title(array: xr.DataArray) -> str:
    """Name and unit, narrow enough for above a colour bar."""
    unit = array.attrs.get("units", "1")
    words = str(array.name).replace("_", " ") + ("" if unit == "1" else f" ({unit})")
    return "<br>".join(textwrap.wrap(words, 14))
