"""Style: colours, scales and layout that all figures share, and what becomes of each colour on a dark page.

Figures are drawn for a light page. ``DARK`` is a table of their colours: a page that is dark replaces each by
its entry, in the browser, so that a figure is computed and sent once.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

PAPER, INK, LINE, GRID, ZERO = "#ffffff", "#1a1a1a", "#4d4d4d", "#ececec", "#bdbdbd"
FAINT, SHADE = "#8c8c8c", "rgba(128, 128, 128, 0.18)"  # a curve to compare with; a range of an axis
BEFORE, PAST = "#5e3c99", "#e66101"  # the pairs before and past the critical one
BEFORE_BAND, PAST_BAND = "rgba(94, 60, 153, 0.25)", "rgba(230, 97, 1, 0.22)"
COLOURS = (BEFORE, PAST, "#1b7837", "#2166ac", "#b2182b")  # of curves beside each other
FONT = "Helvetica, Arial, sans-serif"

# PuOr and Purples of ColorBrewer: their ends stay apart for every kind of colour vision.
_DIVERGING = {
    "#7f3b08": "#ffdfb5", "#b35806": "#fdb863", "#e08214": "#e08a2c", "#fdb863": "#a85a14",
    "#fee0b6": "#5f3a1c", "#f7f7f7": "#2b2b2e", "#d8daeb": "#3b3561", "#b2abd2": "#594b99",
    "#8073ac": "#8573c4", "#542788": "#b3a6e2", "#2d004b": "#e2dcf8",
}  # fmt: skip
_SEQUENTIAL = {
    "#fcfbfd": "#2b2b2f", "#dadaeb": "#423a6b", "#bcbddc": "#5c4f9c", "#9e9ac8": "#7d6cc0",
    "#756bb1": "#a596da", "#54278f": "#c9bdee", "#3f007d": "#ebe5fb",
}  # fmt: skip
DARK = {
    **_DIVERGING,
    **_SEQUENTIAL,
    PAPER: "#242424",
    INK: "#e6e6e6",
    LINE: "#a8a8a8",
    GRID: "#383838",
    ZERO: "#5c5c5c",
    FAINT: "#9a9a9a",
    BEFORE: "#a991e0",
    PAST: "#ff8a3d",
    BEFORE_BAND: "rgba(169, 145, 224, 0.28)",
    PAST_BAND: "rgba(255, 138, 61, 0.24)",
    "#1b7837": "#5cc47c",
    "#2166ac": "#6fb1e6",
    "#b2182b": "#f2837f",
}


def _spread(colours: Sequence[str]) -> list[list[float | str]]:
    return [[index / (len(colours) - 1), colour] for index, colour in enumerate(colours)]


DIVERGING, SEQUENTIAL = _spread(list(_DIVERGING)), _spread(list(_SEQUENTIAL))

AXIS = {
    "gridcolor": GRID,
    "linecolor": LINE,
    "tickcolor": LINE,
    "zerolinecolor": ZERO,
    "showline": True,
    "ticks": "outside",
    "automargin": True,
    "title": {"standoff": 8},
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "colorway": COLOURS,
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": LINE, "font": {"color": INK}},
        "margin": {"t": 48, "l": 70, "r": 20, "b": 54},
        "xaxis": AXIS,
        "yaxis": AXIS,
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "shapedefaults": {"line": {"color": LINE}},
    }
)


def plain_text(text: object) -> str:
    """Write a name that a file or a user gave so that plotly shows its markup as it is."""
    return html.escape(str(text), quote=False)


def pickable(
    columns: Mapping[str, Iterable[Any]],
    rows: Mapping[str, Iterable[Any]] | None = None,
    *,
    numbered: bool = True,
    zoom: str | None = None,
) -> dict[str, Any]:
    """Say what a figure's columns and rows stand for, as its ``layout.meta``, for whoever takes clicks.

    Parameters
    ----------
    columns, rows : axis of the data (``layer``, ``query_head``, ``pair``, ``lag``) -> its value at each step
        across, or down
    numbered : whether x and y are the steps 0, 1, 2, ..., as of a map; otherwise a step is a point of a curve
    zoom : what the x axis shows, ``lags`` or ``positions``: figures of the same may be zoomed together
    """
    return {"map": numbered, "columns": _plain(columns), "rows": _plain(rows or {}), "zoom": zoom}


def _plain(axis: Mapping[str, Iterable[Any]]) -> dict[str, list[Any]]:
    return {
        name: [getattr(value, "item", lambda value=value: value)() for value in values]
        for name, values in axis.items()
    }


def scale_colours(low: float, high: float) -> dict[str, Any]:
    """Choose the colours of a map: two ways around zero where values lie on both sides, one way otherwise.

    Returns
    -------
    dict with ``colorscale``, ``zmin`` and ``zmax``
    """
    if low < 0 < high:
        reach = max(-low, high)
        return {"colorscale": DIVERGING, "zmin": -reach, "zmax": reach}
    return {"colorscale": SEQUENTIAL, "zmin": low, "zmax": high}
