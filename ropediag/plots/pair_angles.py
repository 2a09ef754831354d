"""One pair on the circle: the arc of angles seen in training inside, the arc at this length around it."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import BEFORE, GRID, LINE, PAPER, PAST, TEMPLATE

# Radius at which a ring begins, and its width; the samples stand on a circle around both.
RINGS = {"arc_trained": (0.52, 0.17, BEFORE), "arc_length": (0.72, 0.17, PAST)}
SAMPLES, EDGE = 0.965, 1.05


def plot_pair_angles(angles: xr.Dataset) -> go.Figure:
    """Draw two rings and the angles that the model applied at sampled positions.

    Parameters
    ----------
    angles : as ``ropediag.analysis.pair_angles.measure_pair_angles`` gives it

    Returns
    -------
    go.Figure
        Angle 0, lag 0, is on the right, and a pair turns counterclockwise.
    """
    figure = go.Figure()
    for name, (base, width, colour) in RINGS.items():
        arc = float(angles[name])
        if np.isfinite(arc):
            figure.add_barpolar(
                theta=[np.degrees(arc) / 2],
                width=[np.degrees(arc)],
                base=base,
                r=[width],
                marker={"color": colour, "line_width": 0},
                name=angles[name].attrs["long_name"],
                hovertemplate=f"{angles[name].attrs['long_name']}: 0 to {arc:.2f} rad<extra></extra>",
            )
    _draw_samples(figure, angles)
    new = float(angles.new_fraction)
    if np.isfinite(new):
        figure.add_annotation(
            text=f"<b>{100 * new:.0f} %</b> of a<br>turn is new", x=0.5, y=0.5, showarrow=False, font_size=15
        )
    _lay_out(figure, angles)
    return figure


def _draw_samples(figure: go.Figure, angles: xr.Dataset) -> None:
    """A dot for each sampled position: filled where training showed the angle, hollow where it did not."""
    if "angle" not in angles:
        return
    for seen, colour, text in ((True, BEFORE, "seen in training"), (False, PAST, "not seen in training")):
        chosen = angles.isel(sample=np.flatnonzero(angles.seen.values == seen))
        if not chosen.sizes["sample"] or not np.isfinite(chosen.angle.values).any():
            continue
        figure.add_scatterpolar(
            theta=np.degrees(chosen.angle.values).astype(np.float32),
            r=np.full(chosen.sizes["sample"], SAMPLES, dtype=np.float32),
            mode="markers",
            marker={
                "size": 7,
                "color": colour if seen else PAPER,
                "line": {"color": colour, "width": 1.5},
            },
            customdata=np.stack(
                [chosen["sample"].values, chosen.angle.values, chosen.angle_error.values], -1
            ),
            hovertemplate="position %{customdata[0]:,d}: %{customdata[1]:.3f} rad<br>"
            "off by %{customdata[2]:.1e} rad<extra></extra>",
            name=f"sampled position, {text}",
        )


def _lay_out(figure: go.Figure, angles: xr.Dataset) -> None:
    attrs, turns = angles.attrs, float(angles.turns)
    text = f"layer {attrs['layer']}, pair {attrs['pair']}"
    if np.isfinite(turns):
        text += f": {turns:,.2f} turns within {attrs['length']:,} tokens"
    figure.update_layout(
        template=TEMPLATE,
        height=466,
        title={"text": text, "x": 0.01, "y": 1, "yanchor": "top", "pad_t": 12, "font_size": 15},
        margin={"t": 72, "b": 112, "l": 30, "r": 30},
        legend={"y": -0.12, "yanchor": "top", "x": 0.5, "xanchor": "center", "font_size": 12},
        polar={
            "bgcolor": PAPER,
            "bargap": 0,
            "radialaxis": {"range": [0, EDGE], "visible": False},
            "angularaxis": {
                "tickvals": [0, 90, 180, 270],
                "ticktext": ["0", "π/2", "π", "3π/2"],
                "gridcolor": GRID,
                "linecolor": LINE,
                "tickcolor": LINE,
            },
        },
    )
