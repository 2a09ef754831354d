"""How long an attribution will take and how much memory, told before it starts."""

import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from torch import Tensor

from ropediag.attribution import path
from ropediag.attribution.gates import VALUES
from ropediag.attribution.passes import GatedModel, layer_bytes
from ropediag.errors import ConfigError, ModelError
from ropediag.models.devices import input_device
from ropediag.models.memory import available_memory, loss_bytes

LONGEST, SHORTEST = 4096, 64  # tokens of the passes that are timed
BLOCK_ARRAYS = 12  # arrays of (query, key) that a block holds at once
VECTORS = 15  # arrays of (position, head, channel) that the attention of a layer holds on the way back


@dataclass(frozen=True)
class Cost:
    """The estimated cost of an attribution.

    Attributes
    ----------
    seconds : of one point of one sequence; NaN if the sequence is too short to tell
    bytes : over the weights
    """

    seconds: float
    bytes: int

    def describe(self, sequences: int, most: int) -> str:
        """Write the time of one point and of all, at least and at most, and the memory.

        Parameters
        ----------
        sequences : how many are read
        most : points at most
        """
        memory = f"about {self.bytes / 2**30:.1f} GiB over the weights"
        if np.isnan(self.seconds):
            return f"{sequences:,} sequence{'s' * (sequences > 1)}, {memory}"
        counts = path.LEAST + 1, most
        shortest, longest = (_name_time(self.seconds * sequences * count) for count in counts)
        return (
            f"each of {counts[0]} to {counts[1]} points takes about {_name_time(self.seconds * sequences)}: "
            f"{shortest} to {longest} in all; {memory}"
        )


def estimate_cost(model: GatedModel, ids: Int[Tensor, " position"]) -> Cost:
    """Time two short passes, gates at work over the same share of the lags, and add up what a pass holds.

    Parameters
    ----------
    model : as it will run
    ids : token ids of one sequence

    Raises
    ------
    ConfigError
        If a pass does not fit into the memory that is free.
    """
    native, length = model.model, len(ids)
    needed, free = pass_bytes(model, length), available_memory(input_device(native))
    if needed > free:
        raise ConfigError(
            f"an attribution of {length:,} tokens needs at least {needed / 2**30:.1f} GiB over the "
            f"weights, and {free / 2**30:.1f} GiB are free. Read fewer tokens."
        )
    long = min(LONGEST, length // 4)
    if long < 2 * SHORTEST:
        return Cost(float("nan"), needed)
    tokens = np.array([long // 2, long])
    try:
        seconds = np.array([_time(model, ids, count) for count in (SHORTEST, *tokens)])[1:]
    except ModelError:  # its frequencies depend on the length
        return Cost(float("nan"), needed)
    per_token = seconds / tokens
    square = max(0.0, (per_token[1] - per_token[0]) / (tokens[1] - tokens[0]))
    linear = max(0.0, per_token[1] - square * tokens[1])
    return Cost(float(length * (linear + square * length)), needed)


def _time(model: GatedModel, ids: Tensor, length: int) -> float:
    short = model.shorten(length)
    with short.ready():
        short.read_prefix(ids[:length])
        begun = time.perf_counter()
        short.run(ids[:length], 0.5, [range(short.start, length)])
        return time.perf_counter() - begun


def pass_bytes(model: GatedModel, length: int) -> int:
    """Estimate the bytes over the weights at the peak of a pass forwards and backwards."""
    native = model.model
    part, size = native.config.get_text_config(), next(native.parameters()).element_size()
    channels = part.num_attention_heads * model.head_dim
    key_heads = getattr(part, "num_key_value_heads", None) or part.num_attention_heads
    prefix = part.num_hidden_layers * model.first * 2 * key_heads * model.head_dim + length * part.hidden_size
    kept = (part.num_hidden_layers * length * part.hidden_size + prefix) * size
    vectors = VECTORS * 4 * length * channels
    block = BLOCK_ARRAYS * 4 * VALUES.get(input_device(native).type, VALUES["cpu"])
    return kept + max(
        layer_bytes(native, length, model.head_dim) + vectors + block, 3 * loss_bytes(native, length)
    )


def _name_time(seconds: float) -> str:
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.1f} s"
