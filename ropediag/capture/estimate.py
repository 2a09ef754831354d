"""What a capture will need: seconds from a short pilot, memory and disk from the sizes of its arrays."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ropediag.capture.pilot import estimate_seconds
from ropediag.capture.plan import CapturePlan
from ropediag.capture.scratch import LIMIT
from ropediag.models.blocks import BYTES
from ropediag.models.loss import TOKENS_AT_ONCE
from ropediag.models.memory import LIBRARIES, feed_forward_bytes, held_values, loss_bytes, square_bytes
from ropediag.schema import VARIABLES, block_size

STEP = 256  # tokens, of lengths that are advised
COMPRESSED = 0.85  # size of a captured float array on disk over its size in memory, gzip 1 with shuffle


@dataclass(frozen=True)
class Estimate:
    """What one capture will need.

    Attributes
    ----------
    seconds : wall time, None where it was not asked for
    memory : bytes over the loaded model at the peak, on the device of the model
    disk : bytes of the finished file
    """

    seconds: float | None
    memory: int
    disk: int


def estimate_capture(
    model: Any,
    input_ids: Int[Tensor, "sequence position"],
    plan: CapturePlan,
    window: int | None,
    timed: bool,
) -> Estimate:
    """Estimate a capture.

    Parameters
    ----------
    input_ids : the capture's token ids
    window : training length for the windowed loss, None where it is not measured
    timed : whether to run a short prefix of it for the seconds
    """
    return Estimate(
        seconds=estimate_seconds(model, input_ids[0], plan, window) if timed else None,
        memory=_estimate_memory(model, plan, window),
        disk=_estimate_disk(plan, window),
    )


def _estimate_memory(
    model: Any, plan: CapturePlan, window: int | None, length: int | None = None, chunk: int | None = None
) -> int:
    """Peak of the plan's capture in bytes, or of one with another length or chunk."""
    heads = max(plan.rotation.query_heads), max(plan.rotation.kv_heads)
    length = length or plan.length
    chunk = chunk or (plan.economy.chunk if plan.economy.parts else length)
    head_dim = int(plan.rotation.spec.head_dim.max())
    return capture_bytes(model, length, window, head_dim, *heads, chunk, plan.economy.in_blocks)


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
    """Peak over the weights: a layer's rotation, feed-forward part or measurement, or a loss.

    Parameters
    ----------
    model : in memory or empty
    length, window : tokens
    head_dim, query_heads, kv_heads : of the largest layer
    chunk : tokens that the feed-forward part takes at a time
    in_blocks : whether attention that would need length x length runs on some queries at a time
    """
    parameter = next(model.parameters())
    device = parameter.device.type if parameter.device.type in LIMIT else "cpu"
    width, held = parameter.element_size(), held_values(model, head_dim)
    rotating = held + max(4 * query_heads + 2 * kv_heads, 2 * query_heads + 5 * kv_heads) * head_dim
    feed_forward = feed_forward_bytes(model, head_dim)
    chunked = length * held * width + min(length, chunk) * (feed_forward - held * width)
    attention = held + 2 * (query_heads + kv_heads) * head_dim
    workers = min(torch.get_num_threads(), query_heads) if device == "cpu" else 1
    heads = -(-query_heads // max(kv_heads, workers)) + 2 if device == "cpu" else query_heads + kv_heads
    copies = 4 * head_dim * heads
    measuring = length * (attention * width + workers * copies) + workers * LIMIT[device]
    tokens = 0 if window is None else min(2 * length, max(window, TOKENS_AT_ONCE))
    windowed, losing = tokens * feed_forward, loss_bytes(model, max(length, tokens))
    attending = square_bytes(model) * length**2
    attending = min(attending, BYTES) if in_blocks else attending
    passing = max(length * rotating * width, chunked, measuring, windowed) + attending
    return int(max(passing, losing)) + LIBRARIES


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


def advise(model: Any, plan: CapturePlan, window: int | None, memory: int) -> str:
    """Say which chunk, or else which length, would fit into ``memory`` bytes beside the model.

    Parameters
    ----------
    plan : of the capture that did not fit
    window : training length for the windowed loss, None where it is not measured
    """
    smaller = [1 << power for power in range(plan.economy.chunk.bit_length() - 1, 7, -1)]
    cuts = plan.economy.parts or plan.length <= plan.economy.chunk  # not a model of which nothing can be cut
    for chunk in smaller if cuts else ():
        if _estimate_memory(model, plan, window, chunk=chunk) <= memory:
            return f"--chunk {chunk} would fit"
    fitting, too_long = 0, plan.length // STEP + 1  # in steps of tokens
    while too_long - fitting > 1:
        middle = (fitting + too_long) // 2
        if _estimate_memory(model, plan, window, length=middle * STEP) <= memory:
            fitting = middle
        else:
            too_long = middle
    if not fitting:
        return "no length would fit: take --dtype bfloat16, or a device with more memory"
    quadratic = square_bytes(model) and not plan.economy.in_blocks
    return f"--len {fitting * STEP} would fit" + (", and more with --attn sdpa" if quadratic else "")
