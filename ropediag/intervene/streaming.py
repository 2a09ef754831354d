"""A separate attention, for interventions that no change of queries and keys can express.

Logits come from a routine of the intervention, a block of queries at a time: exact, and nothing of size
length x length. Scaling, mask, window, soft cap and sinks are the model's, in float32 or better. ``apply``
compares it with the model's own attention on a short prefix before it is used.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ropediag.errors import ModelError
from ropediag.intervene.turning import keep_heads
from ropediag.models.blocks import LazyMask
from ropediag.models.tap import AttentionCall

LOGITS_AT_ONCE = 2**22  # of one block of queries: 16 MiB in float32, a few times over
_ROWS = 512  # queries of a block at most

BlockLogits = Callable[[int, int, int], Tensor]
"""(start, stop, first) -> logits of the queries start .. stop - 1 with the keys first .. stop - 1."""
MakeLogits = Callable[[Tensor, Tensor], BlockLogits]
"""Query, times the scaling, and key of one head, (position, head_dim) each -> logits by block."""


def stream_heads(call: AttentionCall, make_logits: Mapping[int, MakeLogits]) -> Any:
    """Attend with other logits in some query heads, as the model does in all others.

    Parameters
    ----------
    call : the tapped call
    make_logits : query head -> what makes its logits

    Raises
    ------
    ModelError
        If the call asks for something that is not honoured here.
    """
    check_options(call)
    batch, heads, length, _ = call.query.shape
    group = heads // call.key.shape[1]
    if len(make_logits) == heads:
        output = call.value.new_empty(batch, length, heads, call.value.shape[-1])
    else:
        output = call.attend()[0]
    mine = torch.empty_like(output)
    kind = torch.promote_types(call.query.dtype, torch.float32)
    for head, make in make_logits.items():
        for row in range(batch):
            query = call.query[row, head].to(kind) * call.scaling
            logits = make(query, call.key[row, head // group].to(kind))
            found = _attend_blocks(logits, call.value[row, head // group].to(kind), call, row, head)
            mine[row, :, head] = found.to(mine.dtype)
    return keep_heads((output, None), (mine, None), list(make_logits))


def plain_logits(
    query: Float[Tensor, "position head_dim"], key: Float[Tensor, "position head_dim"]
) -> BlockLogits:
    """Make the logits that the model would: of the vectors as they are."""
    return lambda start, stop, first: query[start:stop] @ key[first:stop].T


def _attend_blocks(
    logits_of: BlockLogits,
    value: Float[Tensor, "position value_dim"],
    call: AttentionCall,
    row: int,
    head: int,
) -> Float[Tensor, "position value_dim"]:
    """Attention of one head of one sequence, a block of queries at a time."""
    length = len(value)
    sink = None if call.sinks is None else call.sinks[head].to(value.dtype)
    step = max(1, min(_ROWS, LOGITS_AT_ONCE // length))
    output = torch.empty_like(value)
    for start in range(0, length, step):
        stop = min(start + step, length)
        first = max(0, start + 1 - (call.window or length))
        logits = logits_of(start, stop, first)
        if call.softcap is not None:
            logits = call.softcap * torch.tanh(logits / call.softcap)
        logits = mask_logits(logits, call, row, head, start, first)
        if sink is not None:
            logits = torch.cat([logits, sink.expand(len(logits), 1)], dim=1)
        weights = logits.softmax(dim=-1)[:, : stop - first]
        output[start:stop] = weights @ value[first:stop]
    return output


def mask_logits(
    logits: Float[Tensor, "*head query key"],
    call: AttentionCall,
    row: int,
    head: int | None,
    start: int,
    first: int,
) -> Float[Tensor, "*head query key"]:
    """Hide later keys, keys outside the window, and what the model's own mask hides.

    Parameters
    ----------
    logits : of the queries from ``start`` on with the keys from ``first`` on
    call : whose window and mask count
    row : sequence
    head : query head; None where the logits are those of all heads
    """
    queries, keys = (torch.arange(size, device=logits.device) for size in logits.shape[-2:])
    lag = (start + queries)[:, None] - (first + keys)
    hidden = lag < 0
    if call.window is not None:
        hidden |= lag >= call.window
    logits = logits.masked_fill(hidden, -torch.inf)
    if call.mask is None:
        return logits
    stop, last = start + len(queries), first + len(keys)
    lazy = isinstance(call.mask, LazyMask)
    own = call.mask.rows(start, stop, first, last) if lazy else call.mask[:, :, start:stop, first:last]
    if own is None:
        return logits
    own = own[min(row, len(own) - 1)]
    if head is not None:
        own = own[min(head, len(own) - 1)]
    return logits.masked_fill(~own, -torch.inf) if own.dtype == torch.bool else logits + own


def check_options(call: AttentionCall) -> None:
    """Refuse a call whose attention is more than scaling, mask, window, soft cap and sinks."""
    faults = {
        "a mask that is no (batch, head, query, key) tensor": not (
            call.mask is None
            or isinstance(call.mask, LazyMask)
            or (isinstance(call.mask, Tensor) and call.mask.ndim == 4)
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
                f"layer {call.layer}: the lag cannot be limited exactly, since the model asks for {what}. "
                "Use another kind of intervention, or load the model with another attention implementation."
            )
