"""The breakdown: the logit split at the critical pair, and the loss, along the same positions.

All averaging for the picture of it happens here: over sequences, layers and heads, and over stretches
of positions that grow with the position, as a logarithmic axis wants them. Positions are tokens from
the start of a sequence; logits are before the softmax.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.glance import Glance, glance
from ropediag.analysis.standard_error import standard_error
from ropediag.schema import lag_edges
from ropediag.store import Capture

PER_DOUBLING = 16  # positions at which the loss is drawn
LEAST_SPAN = 32  # tokens, where no limit was measured
REACH = 0.09  # of its position: how far a mean of the loss reaches to either side; a quarter of a doubling
SIDES = {"before": "before the critical one", "past": "the critical one and slower"}


@diagnostic(
    question="Whose joint logit moves where the loss breaks: the pairs before or past the critical one?",
    high="these pairs' joint logit is high at that position, on average over the keys a query sees",
    interval="of the excess, its standard error over sequences; of the measured limit, 95 % over sequences",
    source="Liu et al. 2023, arXiv:2310.05209, whose core figure this is",
    shows="past_mean",
    between_sequences=True,
)
def measure_breakdown(
    capture: Capture, layer: int | None = None, query_head: int | None = None
) -> xr.Dataset:
    """Average what shows a breakdown, by position: partial logits and the loss.

    Parameters
    ----------
    layer, query_head : which one, by the capture's coordinates; None averages over all that rotate

    Returns
    -------
    xr.Dataset, every variable with ``units`` and ``long_name``
        ``before_mean``, ``before_std``, ``past_mean``, ``past_std`` (query_position): the joint logit of the
        pairs before and past the critical one, mean and standard deviation over the keys a query sees;
        means over sequences, layers, heads and neighbouring queries, of the deviation root mean squares.
        ``nll``, ``nll_windowed``, ``excess`` and ``excess_se`` (position), as far as it has them: loss, a
        moving mean over at least the span of the measured limit; the standard error is over sequences.
        ``train_len``, ``predicted_limit``, ``measured_limit``, ``measured_low``, ``measured_high``: tokens,
        NaN where there is none.

    Raises
    ------
    ConfigError
        If the capture has no such layer or head.
    """
    parts = {"layer": layer, "query_head": query_head}
    chosen = {name: value for name, value in parts.items() if value is not None}
    for name, value in chosen.items():
        capture.place(name, value)  # or it says what there is
    found = glance(capture)
    span = found.measured.span if found.measured else LEAST_SPAN
    return xr.Dataset(
        {
            **_average_logits(capture, chosen),
            **_smooth_losses(capture, span),
            **_mark_limits(found, found.trained),
        },
        attrs={
            "model": str(capture.attrs.get("model", "unknown model")),
            "base": float(capture.attrs.get("base", np.nan)),
            "length": capture.attrs["length"],
            "averaged": _describe_average(capture, chosen),
        },
    )


def _average_logits(capture: Capture, chosen: dict[str, int]) -> dict[str, xr.DataArray]:
    """Average the partial logits over everything but the position, and merge their bins by ratio."""
    edges, length = capture.values("position_bin"), int(capture.attrs["length"])
    starts, widths = merge_bins(edges, length), np.diff(edges, append=length)
    where = _mean_of_bins(edges + (widths - 1) / 2, widths, starts)
    position = ("query_position", where, {"units": "tokens", "long_name": "position of the query"})
    averaged = {}
    for side, pairs in _name_pairs(capture, chosen).items():
        rest = ("sequence", *(name for name in ("layer", "query_head") if name not in chosen))
        mean = capture[f"partial/{side}_mean"].sel(chosen).mean(rest)
        square = (capture[f"partial/{side}_std"].sel(chosen).astype(float) ** 2).mean(rest)
        for statistic, values, meaning in (
            ("mean", _mean_of_bins(mean.values, widths, starts), f"partial logit of {pairs}"),
            ("std", np.sqrt(_mean_of_bins(square.values, widths, starts)), "standard deviation over keys"),
        ):
            averaged[f"{side}_{statistic}"] = xr.DataArray(
                values,
                coords={"query_position": position},
                dims="query_position",
                attrs={"units": "logit", "long_name": meaning},
            )
    return averaged


def _name_pairs(capture: Capture, chosen: dict[str, int]) -> dict[str, str]:
    """Say which pairs lie on either side, by number where all chosen layers agree."""
    layers = capture["rope/critical_pair"].sel({k: v for k, v in chosen.items() if k == "layer"})
    critical = {int(pair) for pair in np.atleast_1d(layers.values) if pair >= 0}
    if len(critical) != 1:
        return {side: f"pairs {meaning}" for side, meaning in SIDES.items()}
    (first,), pairs = critical, capture.sizes["pair"]
    numbers = {"before": f"0 to {first - 1}", "past": f"{first} to {pairs - 1}"}
    return {side: f"pairs {numbers[side]}, {meaning}" for side, meaning in SIDES.items()}


def merge_bins(edges: Int[np.ndarray, " bin"], length: int) -> Int[np.ndarray, " merged"]:
    """Group bins of positions so that the groups grow with the position, 8 to a doubling.

    Parameters
    ----------
    edges : lower edges of bins that reach to the next one, the last to ``length``

    Returns
    -------
    index of the first bin of each group: a bin belongs where its centre lies
    """
    centres = (edges + np.append(edges[1:], length)) / 2
    group = np.searchsorted(lag_edges(length), centres, side="right")
    return np.flatnonzero(np.diff(group, prepend=-1))


def _mean_of_bins(
    values: Float[np.ndarray, " bin"], widths: Int[np.ndarray, " bin"], starts: Int[np.ndarray, " merged"]
) -> Float[np.ndarray, " merged"]:
    """Average the bins of each group, each bin by its width."""
    weighted = np.add.reduceat(np.asarray(values, dtype=float) * widths, starts)
    return weighted / np.add.reduceat(widths, starts)


def _smooth_losses(capture: Capture, span: int) -> dict[str, xr.DataArray]:
    """Smooth the losses and their difference; the spread of the latter is over sequences."""
    names = [name for name in ("nll", "nll_windowed") if f"loss/{name}" in capture]
    if not names:  # of an unfinished capture
        return {}
    losses = {name: capture[f"loss/{name}"].values.astype(float) for name in names}
    window = capture.window_len
    few = f"fewer than {window:,} tokens" if window else "at most the training length"
    meanings = {
        "nll": "full context",
        "nll_windowed": f"{few} of context",
        "excess": "excess: the difference",
        "excess_se": "standard error of the excess over sequences",
    }
    centres, smooth = smooth_by_ratio(losses["nll"], span)
    curves = {"nll": np.nanmean(smooth, axis=0)}
    if "nll_windowed" in losses:
        excess = smooth_by_ratio(losses["nll"] - losses["nll_windowed"], span)[1]
        curves["nll_windowed"] = np.nanmean(smooth_by_ratio(losses["nll_windowed"], span)[1], axis=0)
        curves["excess"] = np.nanmean(excess, axis=0)
        if len(excess) > 1:
            curves["excess_se"] = standard_error(excess)
    position = ("position", centres, {"units": "tokens", "long_name": "position of the predicted token"})
    return {
        name: xr.DataArray(
            values,
            coords={"position": position},
            dims="position",
            attrs={"units": "nats per token", "long_name": meanings[name]},
        )
        for name, values in curves.items()
    }


def smooth_by_ratio(
    values: Float[np.ndarray, "sequence position"], span: int
) -> tuple[Int[np.ndarray, " centre"], Float[np.ndarray, "sequence centre"]]:
    """Take moving means whose stretch grows with the position.

    Parameters
    ----------
    values : NaN at position 0, which nothing predicts
    span : tokens, the least that a mean covers

    Returns
    -------
    centres : tokens, 16 to a doubling, as far as a whole stretch fits between position 1 and the end
    means : of the positions from centre - half up to, not including, centre + half, where half is
        ``max(span // 2, REACH * centre)`` rounded
    """
    length = values.shape[1]
    doublings = np.log2(length)
    spaced = 2 ** np.linspace(0, doublings, int(doublings * PER_DOUBLING) + 1)
    centres = np.unique(np.round(spaced).astype(int))
    half = np.maximum(span // 2, np.round(REACH * centres).astype(int))
    fits = (centres - half >= 1) & (centres + half <= length)
    centres, half = centres[fits], half[fits]
    total = np.cumsum(np.pad(values[:, 1:], ((0, 0), (2, 0))), axis=1)  # total[p]: positions 1 .. p - 1
    return centres, (total[:, centres + half] - total[:, centres - half]) / (2 * half)


def _mark_limits(found: Glance, trained: int) -> dict[str, xr.DataArray]:
    """List the positions to compare the curves with, tokens; NaN for what is not known, as a length of 0."""
    measured = found.measured
    marks: dict[str, tuple[float | None, str]] = {
        "train_len": (trained or None, "training length"),
        "predicted_limit": (found.predicted_limit, "predicted limit"),
        "first_reach": (found.first_reach, "first reach, a lower bound"),
        "measured_limit": (measured.position if measured else None, "measured limit"),
        "measured_low": (measured.low if measured else None, "lower end of the measured limit's interval"),
        "measured_high": (measured.high if measured else None, "upper end of the measured limit's interval"),
    }
    arrays = {
        name: xr.DataArray(
            np.nan if value is None else float(value), attrs={"units": "tokens", "long_name": meaning}
        )
        for name, (value, meaning) in marks.items()
    }
    arrays["measured_limit"].attrs["interval"] = "95 % interval"
    return arrays


def _describe_average(capture: Capture, chosen: dict[str, int]) -> str:
    """Say what the partial logits are of."""
    names = {"layer": "layer", "query_head": "head", "sequence": "sequence"}
    counts = {name: capture.sizes[dim] for dim, name in names.items() if dim not in chosen}
    over = ", ".join(f"{count} {name}{'s' if count != 1 else ''}" for name, count in counts.items())
    return ", ".join([*(f"{names[dim]} {value}" for dim, value in chosen.items()), f"mean over {over}"])
