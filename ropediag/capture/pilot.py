"""How long a capture will take, from one short pass of it, taken apart."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ropediag.capture.check import check_output
from ropediag.capture.layer import measure_layer
from ropediag.capture.maxima import maximum_by_block
from ropediag.capture.plan import NORM_BINS, POSITION_BINS, CapturePlan
from ropediag.models.devices import input_device
from ropediag.models.loss import decode, nll_by_position, nll_windowed
from ropediag.models.tap import AttentionCall, tap_attention
from ropediag.schema import block_size, lag_edges, position_edges

LONGEST, SHORTEST, SHARE = 2048, 256, 16  # tokens of the pass; the capture's length over them
WORK = 2e10  # parameters times tokens: large models get a shorter one
FILE_SECONDS = 0.4  # to merge the layers into the file, for a small one


def estimate_seconds(
    model: Any, ids: Int[Tensor, " position"], plan: CapturePlan, window: int | None
) -> float:
    """Estimate a capture's wall time: attention grows with n^2, the moments with n log n, the rest with n.

    Parameters
    ----------
    ids : token ids of one sequence, as long as the plan's
    window : training length for the windowed loss, None where it is not measured

    Returns
    -------
    seconds, of all sequences
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    length = min(LONGEST, int(WORK / parameters), plan.length // SHARE)
    length = min(max(length, SHORTEST), plan.length)
    attention, moments = 0.0, [0.0, 0.0]
    lengths = max(1, length // 4), length

    def attend(call: AttentionCall) -> Any:
        nonlocal attention, moments
        result, seconds = _time(call.attend)
        attention += seconds * _attended(plan.length, call.window) / _attended(length, call.window)
        tapped.append(seconds)
        check_output(call, result[0])
        if call.layer == plan.layers[-1]:
            begun = time.perf_counter()
            moments = [_time(measure_layer, _cut(call, n), 0, _shorten(plan, n))[1] for n in lengths]
            tapped.append(time.perf_counter() - begun)
        return result

    tapped: list[float] = []
    with tap_attention(model, attend):
        output, passed = _time(decode, model, ids[None, :length])
    linear = passed - sum(tapped) + _time(nll_by_position, model, ids[None, :length], output)[1]
    if window is not None:
        linear += _time(nll_windowed, model, ids[:length], window)[1]
    layer = _extrapolate(moments, lengths, plan.length)
    kept = len(plan.keep_qk) * _time_maxima(model, plan, length)
    return (
        plan.sequences * (attention + len(plan.layers) * layer + linear * plan.length / length + kept)
        + FILE_SECONDS
    )


def _attended(length: int, window: int | None) -> int:
    """Keys that all queries see together, about."""
    return length * min(length, window or length)


def _extrapolate(seconds: list[float], lengths: tuple[int, int], length: int) -> float:
    """Continue a + b n log n through two measured points."""
    short, long, wanted = (n * math.log2(n + 1) for n in (*lengths, length))
    slope = max(0.0, seconds[1] - seconds[0]) / (long - short)
    return seconds[1] + slope * (wanted - long)


def _time(work: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """What the work returns, and its wall time in seconds."""
    start = time.perf_counter()
    result = work(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def _time_maxima(model: Any, plan: CapturePlan, length: int) -> float:
    """Wall time of taking the maxima of one kept head, in seconds: all it does is multiply and compare."""
    if not plan.keep_qk:
        return 0.0
    size, device = int(plan.rotation.spec.head_dim.max()), input_device(model)
    vectors = torch.ones(length, size, device=device)
    seconds = _time(maximum_by_block, vectors, vectors, block_size(plan.length))[1]
    return seconds * (plan.length / length) ** 2


def _cut(call: AttentionCall, length: int) -> AttentionCall:
    """The call's first positions, which is all that is measured of it."""
    query, key, value = (x[:, :, :length] for x in (call.query, call.key, call.value))
    window = call.window
    options = call.options | ({} if window is None else {"sliding_window": window})
    return replace(call, query=query, key=key, value=value, mask=None, options=options)


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
