"""Massive values: channels of queries and keys that are far longer than all others of their layer."""

import numpy as np
import xarray as xr

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.labelled import average, label
from ropediag.store import Capture

MASSIVE = 5.0  # times the mean over all heads and channels of the layer


@diagnostic(
    question="Does a layer put its queries and keys into few massive channels, and in which pairs are they?",
    high="the channel is so many times as long as the mean channel of its layer; above 5 it is massive",
    interval="standard error over sequences; none with a single one. Sampled tokens, more of the early ones",
    source="Jin et al. 2025, arXiv:2502.01563: norms over tokens, 5 times the mean over heads and channels",
    shows="query_ratio",
    between_sequences=True,
)
def measure_massive_values(capture: Capture) -> xr.Dataset:
    """Norms over the sampled tokens, channel by channel, relative to their mean in the layer.

    The tokens are the capture's sampled positions, spread evenly by ratio, so early ones weigh more than in a
    sum over all tokens. Vectors are those before the rotation.

    Returns
    -------
    xr.Dataset
        ``query_ratio``, ``query_ratio_se`` (layer, query_head, channel) and the same of ``key`` (layer,
        kv_head, channel): norm over the layer's mean norm. For both sides ``_count`` (layer, head), massive
        channels; ``_largest`` and ``_gini`` (layer), the largest ratio and the inequality of the ratios, 0 if
        all are equal and near 1 if one has everything; ``_by_pair`` (layer, pair), massive channels over all
        heads; ``_past`` (layer), the share of them in the critical and slower pairs, NaN without any.
    """
    table: dict[str, tuple[xr.DataArray, str, str]] = {}
    for side, head in (("query", "query_head"), ("key", "kv_head")):
        ratio, error = average(_relate_norms(capture[f"samples/{side}"], head), "sequence")
        massive = ratio > MASSIVE
        by_pair = _count_by_pair(massive.sum(head), capture["rope/channels"])
        past = _sum_past(by_pair, capture.critical_pair)
        held = massive.sum((head, "channel"))
        table |= {
            f"{side}_ratio": (ratio, "1", f"norm of the {side} channel over the mean one of its layer"),
            f"{side}_ratio_se": (error, "1", "its standard error over sequences"),
            f"{side}_count": (
                massive.sum("channel").where(ratio.notnull().any("channel")),
                "1",
                f"massive {side} channels of the head",
            ),
            f"{side}_largest": (ratio.max((head, "channel")), "1", f"largest {side} channel over the mean"),
            f"{side}_gini": (_gini(ratio, head), "1", f"Gini coefficient of the {side} channels"),
            f"{side}_by_pair": (by_pair, "1", f"massive {side} channels in the pair"),
            f"{side}_past": (
                past / held.where(held > 0),
                "1",
                f"share of the massive {side} channels that lie in the critical and slower pairs",
            ),
        }
    return label(table)


def _relate_norms(vectors: xr.DataArray, head: str) -> xr.DataArray:
    """Norm of each channel over the sampled tokens, over the mean of the layer, by sequence."""
    axes = [dim for dim in vectors.dims if dim != "sample"]
    norm = np.sqrt(np.einsum("...tc,...tc->...c", vectors.values, vectors.values, dtype=float))
    labelled = xr.DataArray(norm, {dim: vectors[dim] for dim in axes}, dims=axes)
    mean = labelled.mean((head, "channel"))
    return labelled / mean.where(mean > 0)


def _count_by_pair(massive: xr.DataArray, channels: xr.DataArray) -> xr.DataArray:
    """Add up the massive channels (layer, channel) of each pair; NaN where the layer has no such pair."""
    real = channels.values >= 0
    flat = np.where(real, channels.values, 0).reshape(len(channels), -1)
    counts = np.take_along_axis(massive.values, flat, axis=1).reshape(channels.shape)
    found = xr.DataArray(
        (counts * real).sum(-1), {dim: channels[dim] for dim in ("layer", "pair")}, dims=("layer", "pair")
    )
    return found.where(channels.isel(side=0) >= 0)


def _sum_past(by_pair: xr.DataArray, critical: xr.DataArray) -> xr.DataArray:
    slow = by_pair.where(by_pair.pair >= critical).sum("pair")
    return slow.where(critical >= 0)


def _gini(ratio: xr.DataArray, head: str) -> xr.DataArray:
    """Inequality within each layer: 0 if all values are equal, near 1 if one has everything."""
    rising = np.sort(ratio.transpose("layer", head, "channel").values.reshape(ratio.sizes["layer"], -1))
    values, count = np.nan_to_num(rising), np.isfinite(rising).sum(-1)  # NaN sorts last
    rank = np.arange(1, values.shape[1] + 1)
    total = np.where(values.sum(-1) > 0, values.sum(-1), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        gini = 2 * (values * rank).sum(-1) / (count * total) - (count + 1) / count
    return xr.DataArray(gini, {"layer": ratio.layer}, dims="layer")
