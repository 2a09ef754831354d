"""Attention of a long text, some queries at a time: no array of length x length.

Some models attend in eager mode by default (Gemma 2, GPT-OSS), and their masks and logits grow with the
square of the length; so do the masks of windows under sdpa (Gemma 3). Here transformers is asked for the rows
of a mask when they are needed, by the very function that would have made all of them, and the model's own
attention function runs on blocks of queries, in a window with the keys that these see.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

VALUES = 2**24  # logits of a block, over all heads
BYTES = 16 * VALUES  # of a block: logits, their softmax in float32 and back, mask
LONGEST_SQUARE = 2048  # tokens up to which the model attends as it would by itself


@dataclass(frozen=True, eq=False)
class LazyMask:
    """A mask of (query, key) whose rows are made on demand.

    Attributes
    ----------
    queries, keys : its lengths
    """

    queries: int
    keys: int
    make: Callable[..., Any] = field(repr=False)
    arguments: dict[str, Any] = field(repr=False)

    def rows(self, start: int, stop: int, first_key: int = 0, last_key: int | None = None) -> Tensor | None:
        """Rows start .. stop - 1 of keys first_key .. last_key - 1, (batch, 1, row, key)."""
        keys = (self.keys if last_key is None else last_key) - first_key
        offsets = {
            "q_offset": self.arguments.get("q_offset", 0) + start,
            "kv_offset": self.arguments.get("kv_offset", 0) + first_key,
        }
        return self.make(**{**self.arguments, **offsets, "q_length": stop - start, "kv_length": keys})


def needs_blocks(model: Any, length: int) -> bool:
    """Whether the model's own attention may allocate length x length for a text that long."""
    return model.config._attn_implementation in ("eager", "sdpa") and length > LONGEST_SQUARE


@contextmanager
def lazy_masks(skipping: bool = True) -> Iterator[None]:
    """Within the block the masks of eager attention and sdpa are lazy; the tap's ``attend`` reads them.

    Parameters
    ----------
    skipping : leave out the mask where sdpa is causal by itself
    """
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as registry

    def lazy(name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def make(**arguments: Any) -> LazyMask | None:
            skips = skipping and name == "sdpa"
            if skips and own(**{**arguments, "device": torch.device("meta")}) is None:
                return None
            lengths = int(arguments["q_length"]), int(arguments["kv_length"])
            return LazyMask(*lengths, own, {**arguments, "allow_is_causal_skip": False})

        return make

    local = registry._local_mapping
    before = {name: local.get(name) for name in ("eager", "sdpa")}
    for name in before:
        registry[name] = lazy(name, registry[name])
    try:
        yield
    finally:
        for name, entry in before.items():
            if entry is None:
                del registry[name]
            else:
                registry[name] = entry


def attend_in_blocks(
    original: Callable[..., Any],
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: LazyMask,
    options: dict[str, Any],
    window: int | None = None,
    values: int | None = None,
) -> tuple[Tensor, None]:
    """Let the model's attention function see a block of queries at a time, and the keys these can see.

    Parameters
    ----------
    original : the attention function
    module, query, key, value, mask, options : its arguments
    window : lags that exist, 0 .. window - 1; all if None
    values : logits of a block; ``VALUES`` if None

    Returns
    -------
    (batch, position, head, value_dim), None
    """
    length, heads = query.shape[2], query.shape[0] * query.shape[1]
    values, window = values or VALUES, min(window or length, length)
    step = max(1, values // (heads * length), min(window, values // (heads * 2 * window)))
    outputs = []
    for start in range(0, length, step):
        stop, first = min(start + step, length), max(0, start - window + 1)
        shown = mask.rows(start, stop, first, stop)
        part = query[:, :, start:stop], key[:, :, first:stop], value[:, :, first:stop]
        outputs.append(original(module, *part, shown, **options)[0])
    return torch.cat(outputs, dim=1), None
