"""Measure one layer of one sequence: from its tapped queries and keys to the arrays of the file."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from ropediag.capture.check import check_vectors
from ropediag.capture.cores import run_on_cores
from ropediag.capture.maxima import maximum_by_block
from ropediag.capture.moments import count_by_lag, sum_by_lag, sum_rest_by_lag
from ropediag.capture.partial import average_bins, key_moments
from ropediag.capture.plan import CapturePlan
from ropediag.capture.rows import Softmax, measure_contributions, measure_rows
from ropediag.capture.vectors import measure_vectors, unrotate
from ropediag.errors import CaptureError
from ropediag.models.tap import AttentionCall
from ropediag.schema import block_size
from ropediag.store.units import LAYER

Arrays = dict[str, np.ndarray]


def measure_layer(call: AttentionCall, sequence: int, plan: CapturePlan) -> Arrays:
    """Compute everything the file holds about one layer of one sequence.

    Parameters
    ----------
    call : the layer's attention call, batch 1
    sequence : which of the plan's sequences this is
    plan : the capture's plan

    Returns
    -------
    dict from variable path to array, as ``CaptureWriter.write_layer`` takes it, for the heads of this
    process; empty if none of the plan's heads is among them

    Raises
    ------
    CaptureError
        If queries or keys hold NaN or infinity.
    """
    query, key = call.query[0], call.key[0]
    check_vectors(call)
    _check_window(call, plan)
    heads, keys = plan.ranks.own(plan.heads, len(query)), plan.ranks.own(plan.kv_heads, len(key))
    if not heads:
        return {}
    pieces = [
        partial(_measure_logits, call, shared, part, sequence, plan)
        for shared, part in _share_out(heads, len(query) // len(key), query.device)
    ]
    row = plan.row_of(call.layer)
    sides = [
        partial(_measure_vectors, side, x, row, plan)
        for side, x in (("query", query[heads]), ("key", key[keys]))
    ]
    *parts, queries, shared = run_on_cores([*pieces, *sides], query.device)
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} | queries | shared
    arrays |= _keep_heads(call, plan)
    lags = min(plan.length, call.window or plan.length)
    counts = count_by_lag(plan.length)[:, :lags]
    stops = [*plan.lag_edges[1:], plan.length]
    arrays["scores/pair_count"] = np.stack(
        [counts[:, a:b].sum(1) for a, b in zip(plan.lag_edges, stops, strict=True)], axis=-1
    )
    return arrays


def join_heads(parts: list[Arrays]) -> Arrays:
    """Put what several processes measured of one layer side by side, along its heads."""
    joined: Arrays = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        pieces = [part[name] for part in parts if name in part]
        dims = LAYER[name].dims
        axis = next((axis for axis, dim in enumerate(dims) if dim in ("query_head", "kv_head", "kept")), None)
        joined[name] = pieces[0] if axis is None else np.concatenate(pieces, axis)
    return joined


def _check_window(call: AttentionCall, plan: CapturePlan) -> None:
    """Refuse a window that only the mask of a long text shows: the plan, made of two tokens, has none."""
    seen, planned = (window or plan.length for window in (call.window, plan.rules[call.layer].window))
    if min(seen, plan.length) != min(planned, plan.length):
        raise CaptureError(
            f"layer {call.layer}: its queries see {seen:,} tokens here and {planned:,} in a short text, by a "
            "window that the model does not pass to its attention function. It cannot be captured."
        )


def _share_out(heads: list[int], group: int, device: torch.device) -> list[tuple[list[int], list[int]]]:
    """Cut the query heads into pieces with their key heads.

    On a CPU a piece has one key head, and there are enough for all of torch's threads. On another device,
    which is the faster the more it is given at once, all heads are one piece if they share keys evenly.
    """
    by_key = {head // group: [other for other in heads if other // group == head // group] for head in heads}
    if device.type != "cpu" and len({len(shared) for shared in by_key.values()}) == 1:
        return [(list(by_key), heads)]
    parts = -(-torch.get_num_threads() // len(by_key)) if device.type == "cpu" else 1
    return [
        ([kv_head], [int(head) for head in part])
        for kv_head, shared in by_key.items()
        for part in np.array_split(shared, min(parts, len(shared)))
    ]


def _measure_logits(
    call: AttentionCall, kv_heads: list[int], heads: list[int], sequence: int, plan: CapturePlan
) -> Arrays:
    """Measure the logits of captured query heads; as many in a row share one of the key heads."""
    scaled = _by_channel(call.query[0, heads], call.scaling)
    key = _by_channel(call.key[0, kv_heads])
    row = plan.row_of(call.layer)
    spec = plan.rotation.spec
    channels = spec.channels[row, : spec.pair_count(row)]
    lags = min(plan.length, call.window or plan.length)
    sums = sum_by_lag(scaled, key, channels, plan.lag_edges, lags)
    sinks = None if call.sinks is None else call.sinks.detach()[heads]
    rows = plan.rows[sequence]
    softmax = Softmax(call.window, call.softcap, sinks)
    arrays = {
        "scores/sum": sums.total,
        "scores/sum_square": sums.square,
        "scores/lag_mean_min": sums.lag_mean_min,
        "scores/lag_mean_max": sums.lag_mean_max,
        "scores/rest_sum": sum_rest_by_lag(scaled, key, spec.rest_channels(row), plan.lag_edges, lags),
    }
    softmax_rows = measure_rows(scaled, key, rows, softmax, plan.lag_edges)
    contributions = measure_contributions(scaled, key, channels, rows, plan.coarse_edges, lags)
    arrays |= {f"rows/{name}": values for name, values in (softmax_rows | contributions).items()}
    arrays |= _measure_partial(
        scaled, key, channels, int(plan.training.critical_pair()[row]), call.window, plan
    )
    return arrays


def _by_channel(x: Tensor, scaling: float = 1.0) -> Tensor:
    """Copy to float32, times ``scaling``, each channel in one piece of memory: sums run along positions."""
    laid_out = torch.empty(x.mT.shape, dtype=torch.float32, device=x.device)
    return torch.mul(x.mT.float(), scaling, out=laid_out).mT


def _measure_partial(
    scaled: Tensor, key: Tensor, channels: np.ndarray, critical: int, window: int | None, plan: CapturePlan
) -> Arrays:
    """Split the logit at the critical pair; a layer without rotation has nothing to split."""
    arrays: Arrays = {}
    for side, pairs in (("before", channels[: max(critical, 0)]), ("past", channels[max(critical, 0) :])):
        chosen = torch.tensor(pairs.flatten(), device=key.device)
        mean, variance = key_moments(scaled, key, chosen, window)
        arrays[f"partial/{side}_mean"] = average_bins(mean, plan.position_edges).cpu().numpy()
        arrays[f"partial/{side}_std"] = average_bins(variance, plan.position_edges).sqrt().cpu().numpy()
        if critical < 0:
            for statistic in ("mean", "std"):
                arrays[f"partial/{side}_{statistic}"].fill(np.nan)
    return arrays


def _measure_vectors(side: str, x: Tensor, row: int, plan: CapturePlan) -> Arrays:
    """Lengths and mean vectors of all pairs of one side, and samples of the vectors before rotation."""
    count = plan.rotation.spec.pair_count(row)
    geometry = (plan.rotation.spec.inv_freq[row, :count], plan.rotation.spec.channels[row, :count])
    samples = torch.as_tensor(plan.samples, device=x.device)
    measured = measure_vectors(x, *geometry, plan.norm_edges)
    arrays = {f"vectors/{side}_{name}": values for name, values in measured.items()}
    return arrays | {f"samples/{side}": _unrotate(x[:, samples], samples, row, plan)}


def _keep_heads(call: AttentionCall, plan: CapturePlan) -> Arrays:
    """Of the heads asked for: the vectors before rotation at every position, maxima of their logits."""
    query, key = call.query[0], call.key[0]
    kept = tuple(head for layer, head in plan.keep_qk if layer == call.layer)
    heads = plan.ranks.own(kept, len(query))
    if not heads:
        return {}
    shared = [head // (len(query) // len(key)) for head in heads]
    positions, row = torch.arange(plan.length, device=query.device), plan.row_of(call.layer)
    block = block_size(plan.length)

    def take_maxima(head: int, kv_head: int) -> np.ndarray:
        return maximum_by_block(query[head].float() * call.scaling, key[kv_head].float(), block, call.window)

    pieces = [partial(take_maxima, *pair) for pair in zip(heads, shared, strict=True)]
    return {
        "samples/kept_query": _unrotate(query[heads], positions, row, plan),
        "samples/kept_key": _unrotate(key[shared], positions, row, plan),
        "samples/kept_maximum": np.stack(run_on_cores(pieces, query.device)),
    }


def _unrotate(x: Tensor, positions: Tensor, row: int, plan: CapturePlan) -> np.ndarray:
    spec = plan.rotation.spec
    count = spec.pair_count(row)
    geometry = (spec.inv_freq[row, :count], spec.channels[row, :count], float(spec.attention_factor[row]))
    return unrotate(x, positions, *geometry).cpu().numpy()
