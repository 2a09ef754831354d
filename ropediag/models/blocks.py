"""Eager attention of a long text, some queries at a time: no array of length x length.

Some models attend in eager mode by default (Gemma 2, GPT-OSS), and their masks and logits grow with the
square of the length. Here transformers is asked for the rows of a mask when they are needed, by the very
function that would have made all of them, and the model's own attention function runs on blocks of queries.
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

    def rows(self, start: int, stop: int) -> Tensor | None:
        """Rows start .. stop - 1, (batch, 1, row, key)."""
        first = self.arguments.get("q_offset", 0) + start
        return self.make(**{**self.arguments, "q_length": stop - start, "q_offset": first})


def needs_blocks(model: Any, length: int) -> bool:
    """Whether the model's own attention would allocate length x length for a text that long."""
    return model.config._attn_implementation == "eager" and length > LONGEST_SQUARE


@contextmanager
def lazy_masks() -> Iterator[None]:
    """Within the block the masks of eager attention are lazy; the tap's ``attend`` understands them."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as registry

    own = registry["eager"]

    def make(**arguments: Any) -> LazyMask:
        return LazyMask(int(arguments["q_length"]), int(arguments["kv_length"]), own, arguments)

    local = registry._local_mapping
    before = local.get("eager")
    registry["eager"] = make
    try:
        yield
    finally:
        if before is None:
            del registry["eager"]
        else:
            registry["eager"] = before


def attend_in_blocks(
    original: Callable[..., Any],
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: LazyMask,
    options: dict[str, Any],
    values: int | None = None,
) -> tuple[Tensor, None]:
    """Let the model's attention function see a block of queries at a time, and the keys up to its end.

    Parameters
    ----------
    original : the attention function
    module, query, key, value, mask, options : its arguments
    values : logits of a block; ``VALUES`` if None

    Returns
    -------
    (batch, position, head, value_dim), None
    """
    length, heads = query.shape[2], query.shape[0] * query.shape[1]
    step = max(1, (values or VALUES) // (heads * length))
    outputs = []
    for start in range(0, length, step):
        stop = min(start + step, length)
        rows = mask.rows(start, stop)
        shown = None if rows is None else rows[..., :stop]
        part = query[:, :, start:stop], key[:, :, :stop], value[:, :, :stop]
        outputs.append(original(module, *part, shown, **options)[0])
    return torch.cat(outputs, dim=1), None
