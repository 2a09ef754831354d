"""What a capture will need: seconds, memory and disk, from a short pilot and the sizes of its arrays."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ropediag.capture.check import attend_checked
from ropediag.capture.layer import measure_layer
from ropediag.capture.maxima import maximum_by_block
from ropediag.capture.moments import SCRATCH
from ropediag.capture.plan import NORM_BINS, POSITION_BINS, CapturePlan
from ropediag.models.blocks import BYTES
from ropediag.models.devices import input_device
from ropediag.models.loss import TOKENS_AT_ONCE, decode, nll_by_position, nll_windowed
from ropediag.models.memory import LIBRARIES, feed_forward_bytes, held_values, square_bytes
from ropediag.models.tap import AttentionCall, tap_attention
from ropediag.schema import VARIABLES, block_size, lag_edges, position_edges

PILOT_TOKENS = 2048
PILOT_SECONDS = 0.1  # to spend on each timing, at least two runs
FILE_SECONDS = 0.4  # to merge the layers into the file, for a small one
PILOT_WORK = 2e10  # parameters times tokens: large models get a shorter pilot
COMPRESSED = 0.85  # size of a captured float array on disk over its size in memory, gzip 1 with shuffle


@dataclass(frozen=True)
class Estimate:
    """What one capture will need.

    Attributes
    ----------
    seconds : wall time
    memory : bytes over the loaded model at the peak, on the device of the model
    disk : bytes of the finished file
    """

    seconds: float
    memory: int
    disk: int


def estimate_capture(
    model: Any, input_ids: Int[Tensor, "sequence position"], plan: CapturePlan, window: int | None
) -> Estimate:
    """Estimate a capture by running two short prefixes of it.

    Parameters
    ----------
    input_ids : the capture's token ids
    window : training length for the windowed loss, None where it is not measured
    """
    return Estimate(
        seconds=_estimate_seconds(model, input_ids[0], plan, window),
        memory=_estimate_memory(model, plan, window),
        disk=_estimate_disk(plan, window),
    )


def _estimate_seconds(
    model: Any, ids: Int[Tensor, " position"], plan: CapturePlan, window: int | None
) -> float:
    """Continue two short runs: attention grows with n^2, the moments with n log n, the rest with n."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    longer = min(plan.length, max(256, min(PILOT_TOKENS, int(PILOT_WORK / parameters))))
    shorter = max(1, longer // 4)
    plain = [_time(decode, model, ids[None, :length]) for length in (shorter, longer)]
    measured = [
        _time_layer(model, ids[None, :length], _shorten(plan, length)) for length in (shorter, longer)
    ]
    output = decode(model, ids[None, :longer])
    linear = _time(nll_by_position, model, ids[None, :longer], output)
    if window is not None:
        linear += _time(nll_windowed, model, ids[:longer], window)
    growth = plan.length / longer
    logs = math.log2(plan.length) / math.log2(longer)
    slope = max(0.0, measured[1] - measured[0]) * longer / (longer - shorter)
    layer = max(0.0, measured[1] - slope) + slope * growth * logs
    forward = _extrapolate(plain, shorter, longer, plan.length)
    kept = len(plan.keep_qk) * _time_maxima(model, plan, longer) * growth**2
    return plan.sequences * (forward + len(plan.layers) * layer + linear * growth + kept) + FILE_SECONDS


def _extrapolate(seconds: list[float], shorter: int, longer: int, length: int) -> float:
    """Continue a n + b n^2 through two measured points."""
    rates = seconds[0] / shorter, seconds[1] / longer
    square = max(0.0, (rates[1] - rates[0]) / (longer - shorter))
    return (rates[1] - square * longer) * length + square * length**2


def _time(work: Callable[..., Any], *arguments: Any) -> float:
    """Wall time of the fastest of a few runs, in seconds: the first pays for what later ones do not."""
    seconds: list[float] = []
    while len(seconds) < 2 or sum(seconds) < PILOT_SECONDS:
        start = time.perf_counter()
        work(*arguments)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _time_layer(model: Any, input_ids: Int[Tensor, "sequence position"], plan: CapturePlan) -> float:
    """Wall time of measuring one of the plan's layers, in seconds."""
    seconds = 0.0

    def measure(call: AttentionCall):
        nonlocal seconds
        result = attend_checked(call)
        if call.layer == plan.layers[-1]:
            seconds = _time(measure_layer, call, 0, plan)
        return result

    with tap_attention(model, measure):
        decode(model, input_ids)
    return seconds


def _time_maxima(model: Any, plan: CapturePlan, length: int) -> float:
    """Wall time of taking the maxima of one kept head, in seconds: all it does is multiply and compare."""
    if not plan.keep_qk:
        return 0.0
    size, device = int(plan.rotation.spec.head_dim.max()), input_device(model)
    vectors = torch.ones(length, size, device=device)
    return _time(maximum_by_block, vectors, vectors, block_size(plan.length))


def _shorten(plan: CapturePlan, length: int) -> CapturePlan:
    """The same plan for a prefix of its sequences."""
    return replace(
        plan,
        length=length,
        lag_edges=lag_edges(length),
        coarse_edges=lag_edges(length, 2),
        position_edges=position_edges(length, POSITION_BINS),
        norm_edges=position_edges(length, NORM_BINS),
        rows=plan.rows * (length - 1) // (plan.length - 1),
        samples=np.minimum(plan.samples, length - 1),
        keep_qk=(),
    )


def _estimate_memory(model: Any, plan: CapturePlan, window: int | None) -> int:
    heads = max(plan.rotation.query_heads), max(plan.rotation.kv_heads)
    chunk = plan.economy.chunk if plan.economy.parts else plan.length
    head_dim = int(plan.rotation.spec.head_dim.max())
    return capture_bytes(model, plan.length, window, head_dim, *heads, chunk, plan.economy.in_blocks)


def capture_bytes(
    model: Any,
    length: int,
    window: int | None,
    head_dim: int,
    query_heads: int,
    kv_heads: int,
    chunk: int,
    in_blocks: bool,
) -> int:
    """Peak over the weights: a layer's rotation, feed-forward part or measurement, or the windowed loss.

    Parameters
    ----------
    model : in memory or empty
    length, window : tokens
    head_dim, query_heads, kv_heads : of the largest layer
    chunk : tokens that the feed-forward part takes at a time
    in_blocks : whether attention that would need length x length runs on some queries at a time
    """
    parameter = next(model.parameters())
    device = parameter.device.type if parameter.device.type in SCRATCH else "cpu"
    width, held = parameter.element_size(), held_values(model, head_dim)
    rotating = held + max(4 * query_heads + 2 * kv_heads, 2 * query_heads + 5 * kv_heads) * head_dim
    feed_forward = feed_forward_bytes(model, head_dim)
    chunked = length * held * width + min(length, chunk) * (feed_forward - held * width)
    attention = held + 2 * (query_heads + kv_heads) * head_dim
    workers = min(torch.get_num_threads(), query_heads) if device == "cpu" else 1
    heads = -(-query_heads // max(kv_heads, workers)) + 2 if device == "cpu" else query_heads + kv_heads
    copies = 4 * head_dim * heads
    measuring = length * (attention * width + workers * copies) + workers * SCRATCH[device]
    windowed = 0 if window is None else min(2 * length, max(window, TOKENS_AT_ONCE)) * feed_forward
    attending = BYTES if in_blocks else square_bytes(model) * length**2
    return int(max(length * rotating * width, chunked, measuring, windowed) + attending) + LIBRARIES


def _estimate_disk(plan: CapturePlan, window: int | None) -> int:
    """Sizes of all variables of the file, floats compressed, integers and tokens almost for nothing."""
    blocks = -(-plan.length // block_size(plan.length))
    sizes = {
        "sequence": plan.sequences,
        "layer": len(plan.layers),
        "query_head": len(plan.heads),
        "kv_head": len(plan.kv_heads),
        "pair": plan.rotation.spec.inv_freq.shape[1],
        "lag": len(plan.lag_edges),
        "coarse_lag": len(plan.coarse_edges),
        "position": plan.length,
        "position_bin": len(plan.position_edges),
        "norm_bin": len(plan.norm_edges),
        "row": plan.rows.shape[1],
        "level": 7,
        "replicate": plan.sequences * 8,
        "sample": len(plan.samples),
        "channel": int(plan.rotation.spec.head_dim.max()),
        "kept": len(plan.keep_qk),
        "query_block": blocks,
        "key_block": blocks,
    }
    total = 0.0
    for variable in VARIABLES:
        if variable.name == "nll_windowed" and window is None:
            continue
        count = math.prod(sizes.get(dim, 1) for dim in variable.dims)
        share = COMPRESSED if variable.dtype.startswith("f") else 0.25
        total += count * (8 if variable.dtype.endswith("8") else 4) * share
    return int(total) + 2**18
