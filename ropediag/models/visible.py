"""Which keys a query sees, read from the mask that the model made for its attention function.

A mask is nothing (the function masks causally by itself), a (batch, head, query, key) tensor of booleans or
of numbers that are added to the logits, a (batch, key) tensor that marks padding, or flex attention's
function of positions. Whatever it is, a few of its rows tell a plain causal mask and a sliding window from
everything else.
"""

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ropediag.errors import ModelError
from ropediag.models.blocks import LazyMask

HIDDEN = -1e4  # a number this low on a logit hides the key; the lowest of float16 is -65,504


def visible_keys(mask: Any, queries: Int[Tensor, " row"], keys: int) -> Bool[Tensor, "head row key"] | None:
    """Return which keys the queries at these positions see in the first sequence, of each head or of all.

    Returns
    -------
    None where there is no mask

    Raises
    ------
    ModelError
        If the mask is of another kind, or puts a number on a logit that does not hide the key.
    """
    if mask is None:
        return None
    if isinstance(mask, Tensor) and mask.ndim == 2:
        return (mask[:1, :keys] != 0)[:, None].expand(1, len(queries), keys)
    if isinstance(mask, LazyMask):
        made = [mask.rows(query, query + 1) for query in queries.tolist()]
        if any(row is None for row in made):
            return None
        mask = torch.cat([row for row in made if row is not None], dim=2)
        queries = torch.arange(len(queries), device=queries.device)
    if isinstance(mask, Tensor) and mask.ndim == 4:
        rows = mask[0][:, queries, :keys]
        if rows.dtype == torch.bool:
            return rows
        if ((rows != 0) & (rows > HIDDEN)).any():
            raise ModelError("its mask adds a bias of its own to the logits, which no rotary pair explains")
        return rows == 0
    if callable(getattr(mask, "mask_mod", None)):
        zero = torch.zeros((), dtype=torch.long, device=queries.device)
        there = torch.arange(keys, device=queries.device)
        return mask.mask_mod(zero, zero, queries[:, None], there[None, :])[None]
    raise ModelError(f"its mask is a {type(mask).__name__}, which ropediag cannot read")


def shown_window(mask: Any) -> int | None:
    """Return the length of the window that a mask tensor shows to its last queries, None if it shows none.

    Chunks are no window: a query sees its chunk from the beginning, one key more than the query before it.
    """
    if isinstance(mask, LazyMask):
        length, device = mask.queries, mask.arguments.get("device", "cpu")
    elif isinstance(mask, Tensor) and mask.ndim == 4:
        length, device = mask.shape[-2], mask.device
    else:
        return None
    seen = visible_keys(mask, torch.tensor([length - 1, max(0, length - 2)], device=device), length)
    if seen is None:
        return None
    count, before = seen[0].sum(-1).tolist()
    together = bool(seen[:, 0, length - count :].all())
    return count if together and count == before and count < length else None
