"""The clipped lag: chosen pairs contribute at lags above a limit what they would at the limit.

Contributions at lags up to the limit are the ordinary ones. Beyond it a pair contributes
``scaling * (R(limit * inv_freq) q . k)`` with unrotated q and k, whatever the lag: the query turned to the
limit, the key turned back to 0. So a query's logits are a product of two halves, near keys with the tapped
vectors and far keys with these, joined in one softmax. Rows of queries are taken a few at a time: exact,
and nothing of size length x length.

This is attention of ropediag's own, in float32 or better, with the model's scaling, mask, window, soft cap
and sinks. ``apply`` compares it with the model's on a short prefix before it is used.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ropediag.errors import ModelError
from ropediag.intervene.intervention import Intervention
from ropediag.intervene.selection import Target
from ropediag.intervene.turning import keep_heads, turn
from ropediag.models.tap import AttentionCall

LOGITS_AT_ONCE = 2**22  # of one block of queries: 16 MiB in float32, a few times over
_ROWS = 512  # queries of a block at most


@dataclass(frozen=True, eq=False)
class Halves:
    """Queries and keys of one query head: as tapped, for near keys, and as they are at the limit, for far."""

    query: Float[Tensor, "position head_dim"]
    key: Float[Tensor, "position head_dim"]
    far_query: Float[Tensor, "position head_dim"]
    far_key: Float[Tensor, "position head_dim"]
    limit: int


def clip_lags(call: AttentionCall, target: Target, change: Intervention, positions: Tensor) -> Any:
    """Attend with the lag of the chosen pairs clipped at ``change.limit``."""
    limit = change.limit
    assert limit is not None  # checked on construction
    if min(len(positions), call.window or len(positions)) <= limit + 1:
        return call.attend()
    return attend_clipped(call, target, limit, positions)


def attend_clipped(call: AttentionCall, target: Target, limit: int, positions: Tensor) -> Any:
    """Attend through ``attend_halves`` in the target's heads, as the model does in all others.

    Raises
    ------
    ModelError
        If the call asks for something that is not honoured here.
    """
    _check_options(call)
    batch, heads, length, _ = call.query.shape
    group = heads // call.key.shape[1]
    if len(target.pairs) == heads:
        output = call.value.new_empty(batch, length, heads, call.value.shape[-1])
    else:
        output = call.attend()[0]
    mine = torch.empty_like(output)
    kind = torch.promote_types(call.query.dtype, torch.float32)
    for pairs, chosen in target.heads_by_pairs().items():
        channels = target.channels[list(pairs)]
        inv_freq = torch.tensor(target.inv_freq[list(pairs)], device=positions.device)
        back = -positions.double()[:, None] * inv_freq
        for row in range(batch):
            for head in chosen:
                query = call.query[row, head].to(kind) * call.scaling
                key = call.key[row, head // group].to(kind)
                far = turn(query, channels, back + limit * inv_freq), turn(key, channels, back)
                value = call.value[row, head // group].to(kind)
                found = attend_halves(Halves(query, key, *far, limit), value, call, row, head)
                mine[row, :, head] = found.to(mine.dtype)
    return keep_heads((output, None), (mine, None), list(target.pairs))


def attend_halves(
    halves: Halves, value: Float[Tensor, "position value_dim"], call: AttentionCall, row: int, head: int
) -> Float[Tensor, "position value_dim"]:
    """Attention of one head of one sequence, a block of queries at a time."""
    length = len(value)
    sink = None if call.sinks is None else call.sinks[head].to(value.dtype)
    step = max(1, min(_ROWS, LOGITS_AT_ONCE // length))
    output = torch.empty_like(value)
    for start in range(0, length, step):
        stop = min(start + step, length)
        first = max(0, start + 1 - (call.window or length))
        logits = _block_logits(halves, start, stop, first)
        if call.softcap is not None:
            logits = call.softcap * torch.tanh(logits / call.softcap)
        logits = _mask(logits, call, row, head, start, first)
        if sink is not None:
            logits = torch.cat([logits, sink.expand(len(logits), 1)], dim=1)
        weights = logits.softmax(dim=-1)[:, : stop - first]
        output[start:stop] = weights @ value[first:stop]
    return output


def _block_logits(halves: Halves, start: int, stop: int, first: int) -> Float[Tensor, "query key"]:
    """Logits of the queries start .. stop - 1 with the keys first .. stop - 1."""
    near_from = max(first, start - halves.limit)  # keys before it are far from every query of the block
    far_until = stop - 1 - halves.limit  # keys from it on are near to every one
    if far_until <= first:
        return halves.query[start:stop] @ halves.key[first:stop].T
    near = halves.query[start:stop] @ halves.key[near_from:stop].T
    far = halves.far_query[start:stop] @ halves.far_key[first:far_until].T
    queries = torch.arange(start, stop, device=near.device)[:, None]
    keys = torch.arange(near_from, far_until, device=near.device)
    both = far_until - near_from
    near[:, :both] = torch.where(queries - keys > halves.limit, far[:, near_from - first :], near[:, :both])
    return torch.cat([far[:, : near_from - first], near], dim=1)


def _mask(
    logits: Float[Tensor, "query key"], call: AttentionCall, row: int, head: int, start: int, first: int
) -> Float[Tensor, "query key"]:
    """Hide later keys, keys outside the window, and what the model's own mask hides."""
    queries, keys = (torch.arange(size, device=logits.device) for size in logits.shape)
    lag = (start + queries)[:, None] - (first + keys)
    hidden = lag < 0
    if call.window is not None:
        hidden |= lag >= call.window
    logits = logits.masked_fill(hidden, -torch.inf)
    if call.mask is None:
        return logits
    own = call.mask[min(row, len(call.mask) - 1)]
    own = own[min(head, len(own) - 1), start : start + len(queries), first : first + len(keys)]
    return logits.masked_fill(~own, -torch.inf) if own.dtype == torch.bool else logits + own


def _check_options(call: AttentionCall) -> None:
    """Refuse a call whose attention is more than scaling, mask, window, soft cap and sinks."""
    faults = {
        "a mask that is no (batch, head, query, key) tensor": not (
            call.mask is None or (isinstance(call.mask, Tensor) and call.mask.ndim == 4)
        ),
        "dropout": bool(call.options.get("dropout")) and call.module.training,
        "attention that is not causal": not (
            call.options.get("is_causal") is not False and getattr(call.module, "is_causal", True)
        ),
        "a bias by position": call.options.get("position_bias") is not None,
        "attention weights to be returned": bool(call.options.get("output_attentions")),
    }
    for what, present in faults.items():
        if present:
            raise ModelError(
                f"layer {call.layer}: the lag cannot be clipped exactly, since the model asks for {what}. "
                "Use another kind of intervention, or load the model with another attention implementation."
            )
