"""What unseen angles cost, in nats: by layer and head, and from the loss in windows to the loss as it is."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from ropediag.plots.style import BEFORE, FAINT, LINE, PAST, TEMPLATE, pickable, scale_colours

NAMED, LEAST = 8, 0.01  # pairs with a bar of their own: at most, and from which share of the sum on
CELLS = 400  # heads up to which each cell names its pair
ROW, TOP, BOTTOM = 26, 70, 60  # pixels


def plot_cost_by_head(table: xr.Dataset) -> go.Figure:
    """Draw the cost of each head as a map, layers down and heads across; a cell names its costliest pair.

    Parameters
    ----------
    table : as ``ropediag.analysis.attribution.tabulate_attribution`` returns it

    Returns
    -------
    go.Figure
        A cell can be picked: ``layout.meta`` names its ``layer`` and ``query_head``.
    """
    cost, parts = table.by_head.values, table.cost.values
    known = np.isfinite(parts).any(-1)
    worst = table.pair.values[np.nan_to_num(np.abs(parts), nan=-1.0).argmax(-1)]
    largest = np.where(known, np.take_along_axis(parts, _places(parts), -1)[..., 0], np.nan)
    low, high = (float(reduce(cost[known], initial=0.0)) for reduce in (np.min, np.max))
    layers, heads = table.layer.values.tolist(), table.query_head.values.tolist()
    shows = known.size <= CELLS
    figure = go.Figure(
        go.Heatmap(
            z=cost.astype(np.float32),
            text=np.where(known, worst.astype(str), ""),
            texttemplate="%{text}" if shows else None,
            customdata=np.stack([worst, largest], -1),
            hovertemplate=(
                "layer %{y}, head %{x}: %{z:.3f} nats<br>most from pair %{customdata[0]}: "
                "%{customdata[1]:.3f}<extra></extra>"
            ),
            xgap=1,
            ygap=1,
            colorbar={"title": {"text": "nats", "side": "right"}},
            **scale_colours(low, high),
        )
    )
    steps = {"x": heads, "y": layers}
    figure.update_traces(x=np.arange(len(heads)), y=np.arange(len(layers)))
    for axis, title in (("x", "query head"), ("y", "layer")):
        shown = np.arange(0, len(steps[axis]), max(1, len(steps[axis]) // 16))
        figure.layout[f"{axis}axis"] = {
            "title": title,
            "tickvals": shown,
            "ticktext": [steps[axis][place] for place in shown],
            "showgrid": False,
        }
    figure.update_layout(
        template=TEMPLATE,
        height=TOP + BOTTOM + max(4, len(layers)) * ROW,
        yaxis={"autorange": "reversed"},
        meta=pickable({"query_head": heads}, {"layer": layers}),
    )
    return figure


def _places(parts: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.abs(parts), nan=-1.0).argmax(-1)[..., None]


def plot_cost_waterfall(table: xr.Dataset) -> go.Figure:
    """Draw how the loss in windows becomes the loss as it is: other causes first, then pair by pair.

    Parameters
    ----------
    table : as ``ropediag.analysis.attribution.tabulate_attribution`` returns it

    Returns
    -------
    go.Figure
        The costliest pairs have a bar each, all others one together; what the integral misses is a bar of its
        own. Bars hold the 95 % interval over sequences in their hover text.
    """
    by_pair = table.by_pair.values
    order = np.argsort(-np.abs(by_pair))
    large = int((np.abs(by_pair) >= LEAST * abs(float(table.total))).sum())
    named, rest = sorted(order[: min(large, NAMED)].tolist()), order[min(large, NAMED) :]
    bars = [
        ("in windows", "absolute", float(table.nll_windowed), ""),
        ("other causes", "relative", float(table.other), _ends(table, "other", {})),
        *(
            (
                f"pair {int(table.pair[place])}",
                "relative",
                float(by_pair[place]),
                _ends(table, "by_pair", {"pair": place}),
            )
            for place in named
        ),
    ]
    if len(rest):
        bars.append((f"{len(rest)} other pairs", "relative", float(by_pair[rest].sum()), ""))
    bars += [
        ("missed", "relative", -float(table.missed), "error of the integral"),
        ("as it is", "total", float(table.nll), ""),
    ]
    names, measures, values, ends = zip(*bars, strict=True)
    figure = go.Figure(
        go.Waterfall(
            x=names,
            y=values,
            measure=measures,
            customdata=ends,
            text=[f"{value:.2f}".replace("-0.00", "0.00") for value in values],
            textposition="outside",
            cliponaxis=False,
            connector={"line": {"color": LINE, "width": 1}},
            increasing={"marker": {"color": PAST}},
            decreasing={"marker": {"color": BEFORE}},
            totals={"marker": {"color": FAINT}},
            hovertemplate="%{x}: %{text} nats<br>%{customdata}<extra></extra>",
        )
    )
    figure.update_layout(
        template=TEMPLATE,
        showlegend=False,
        xaxis={"title": "cause", "showgrid": False},
        yaxis={"title": "mean loss (nats)", "rangemode": "tozero"},
        meta=pickable({}, {}),
    )
    return figure


def _ends(table: xr.Dataset, name: str, at: dict[str, int]) -> str:
    low, high = (float(table[f"{name}_{end}"].isel(at)) for end in ("low", "high"))
    return f"95 % interval {low:.3f} to {high:.3f}" if np.isfinite(low) else "one sequence, no interval"
