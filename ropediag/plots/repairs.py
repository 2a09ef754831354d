"""The repairs of several ablations: one row each, a dot with its interval for each reach.

Rows are coloured by the pairs that were changed, so that two interventions on the same pairs are seen to be.
"""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import BEFORE, COLOURS, FAINT, GRID, LINE, PAST, TEMPLATE, pickable, plain_text

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "triangle-down", "pentagon")
ROW, REACH = 24, 16  # pixels: least height of a row, and of one of its reaches
TOP, BOTTOM = 100, 54  # pixels: legend and notes; axis
LEAST, WIDEST = (-0.1, 1.1), (-0.5, 1.5)  # shares that are always shown; ends of intervals that are
ENDS = {0.0: "as untouched", 1.0: "as in windows of the training length"}
FIXED = {"before": BEFORE, "past": PAST}  # the colours that these pairs have in all figures


def plot_repairs(repairs: xr.Dataset) -> go.Figure:
    """Draw the share of the damage that each ablation repairs, the random sets beside it.

    Parameters
    ----------
    repairs : as ``ropediag.analysis.repairs.measure_repairs`` gives it

    Returns
    -------
    go.Figure
        Shares across; ablations down, one symbol a multiple of the trained length. A row can be picked:
        ``layout.meta`` names its ``ablation``.
    """
    figure = go.Figure()
    rows, multiples = np.arange(repairs.sizes["ablation"]), repairs.multiple.values
    offsets = (np.arange(len(multiples)) + 0.5) / len(multiples) - 0.5
    colours = _choose_colours(repairs.pairs.values.tolist())
    for column, multiple in enumerate(multiples):
        at = repairs.sel(multiple=multiple)
        name, symbol = f"{multiple:.4g} x", SYMBOLS[column % len(SYMBOLS)]
        y = (rows + 0.8 * offsets[column]).astype(np.float32)
        figure.add_scatter(
            x=at.random.values.ravel().astype(np.float32),
            y=np.repeat(y, repairs.sizes["set"]),
            mode="markers",
            marker={"symbol": f"{symbol}-open", "size": 7, "color": FAINT},
            hovertemplate="%{x:.1%}<extra>random set</extra>",
            showlegend=False,
        )
        figure.add_trace(_draw_reach(at, y, colours, symbol, name))
        figure.add_scatter(  # names the symbol in a colour that stands for no set
            x=[None], y=[None], mode="markers", name=name, marker={"symbol": symbol, "color": LINE, "size": 9}
        )
    figure.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        name="random pairs of equal number",
        marker={"symbol": "circle-open", "color": FAINT, "size": 7},
    )
    _lay_out(figure, repairs)
    return figure


def _draw_reach(at: xr.Dataset, y: np.ndarray, colours: list[str], symbol: str, name: str) -> go.Scatter:
    share, low, high = (at[f"repaired{end}"].values for end in ("", "_low", "_high"))
    return go.Scatter(
        x=share.astype(np.float32),
        y=y,
        error_x={
            "array": (high - share).astype(np.float32),
            "arrayminus": (share - low).astype(np.float32),
            "color": LINE,
            "thickness": 1.2,
            "width": 3,
        },
        mode="markers",
        marker={"symbol": symbol, "color": colours, "size": 10},
        customdata=np.stack([low, high], -1),
        text=[label.replace("<br>", ", ") for label in _label_rows(at)],
        hovertemplate="%{text}<br>%{x:.1%} (%{customdata[0]:.1%} to %{customdata[1]:.1%})"
        f"<extra>up to {name}</extra>",
        showlegend=False,
    )


def _choose_colours(pairs: list[str]) -> list[str]:
    """Give each row the colour of its pairs."""
    chosen: dict[str, str] = {}
    others = [colour for colour in COLOURS if colour not in FIXED.values()]
    for name in dict.fromkeys(pairs):
        side = next((colour for word, colour in FIXED.items() if f"{word} the critical" in name), None)
        used = sum(colour in others for colour in chosen.values())
        chosen[name] = side or others[used % len(others)]
    return [chosen[name] for name in pairs]


def _label_rows(repairs: xr.Dataset) -> list[str]:
    """Name the rows; with the model where there are several."""
    models = repairs.model.values.tolist()
    several = len(set(models)) > 1
    texts = (models, repairs.pairs.values.tolist(), repairs.change.values.tolist())
    rows = zip(*([plain_text(text) for text in column] for column in texts), strict=True)
    return [f"{pairs}<br>{change}{f', {model}' if several else ''}" for model, pairs, change in rows]


def _lay_out(figure: go.Figure, repairs: xr.Dataset) -> None:
    count, reaches = repairs.sizes["ablation"], repairs.sizes["multiple"]
    height = count * max(ROW + 16, REACH * reaches + 8)
    for (share, meaning), side in zip(ENDS.items(), ("left", "right"), strict=True):
        figure.add_vline(x=share, line={"color": LINE, "width": 1.2}, layer="below")
        note = {"yref": "paper", "yanchor": "bottom", "xanchor": side, "showarrow": False, "font_color": LINE}
        figure.add_annotation(text=meaning, x=share, y=1, **note)
    figure.update_layout(
        template=TEMPLATE,
        height=TOP + height + BOTTOM,
        margin={"t": TOP, "b": BOTTOM, "r": 30},
        meta=pickable({}, {"ablation": repairs.ablation.values}),
        legend={
            "yref": "container",
            "y": 0.995,
            "yanchor": "top",
            "title": {"text": repairs.multiple.attrs["long_name"], "side": "top"},
        },
        xaxis={
            "title": repairs.repaired.attrs["long_name"],
            "tickformat": ".0%",
            "range": _find_range(repairs),
            "zeroline": False,
        },
        yaxis={
            "tickvals": np.arange(count),
            "ticktext": _label_rows(repairs),
            "range": [count - 0.5, -0.5],
            "ticks": "",
            "gridcolor": GRID,
            "zeroline": False,
        },
    )


def _find_range(repairs: xr.Dataset) -> list[float]:
    """Show all shares, and their intervals as far as these do not drown them."""
    ends = [repairs[f"repaired{end}"].values.clip(*WIDEST).ravel() for end in ("_low", "_high")]
    shown = np.concatenate([*ends, repairs.repaired.values.ravel(), repairs.random.values.ravel(), LEAST])
    return [float(np.nanmin(shown)) - 0.03, float(np.nanmax(shown)) + 0.03]
