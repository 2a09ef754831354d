"""Interventions that are a change of queries and keys: the model's own attention does the rest.

A rotated query of a pair is the unrotated one turned by position times inv_freq. Turning it on by position
times (another frequency minus inv_freq), and the key likewise, gives what the model would have computed with
that frequency: 0 freezes the pair, inv_freq / factor interpolates, that of another base re-bases. Lengths,
and with them the attention factor, stay. What scales a contribution is a change of the query alone. Angles
are computed in float64, turned in float32 or better.

Query heads that share a key head may be chosen differently. Then the model's attention runs once for each
different copy of the keys, and each head keeps the run that is its own.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ropediag.evaluate.log_attention import log_factor
from ropediag.intervene.intervention import Intervention, Pairs
from ropediag.intervene.selection import Target
from ropediag.models.tap import AttentionCall
from ropediag.rope import inv_freq as plain_inv_freq


def turn(
    x: Float[Tensor, "*head position head_dim"],
    channels: Int[np.ndarray, "pair 2"],
    angle: Float[Tensor, "position pair"],
) -> Float[Tensor, "*head position head_dim"]:
    """Copy ``x`` with some pairs turned on by ``angle``, radians; the other channels stay as they are."""
    first, second = torch.tensor(channels, device=x.device).unbind(-1)
    kind = torch.promote_types(x.dtype, torch.float32)
    a, b = x[..., first].to(kind), x[..., second].to(kind)
    cos, sin = angle.cos().to(kind), angle.sin().to(kind)
    turned = x.clone()
    turned[..., first] = (a * cos - b * sin).to(x.dtype)
    turned[..., second] = (b * cos + a * sin).to(x.dtype)
    return turned


def turn_frequencies(call: AttentionCall, target: Target, change: Intervention, positions: Tensor) -> Any:
    """Attend as if the chosen pairs turned at other frequencies: freeze, interpolate, rebase."""
    wanted = _wanted_frequencies(target, change)

    def angle(pairs: Pairs) -> Tensor:
        chosen = list(pairs)
        difference = torch.tensor(wanted[chosen] - target.inv_freq[chosen], device=positions.device)
        return positions.double()[:, None] * difference

    query = call.query.clone()
    for pairs, heads in target.heads_by_pairs().items():
        query[:, heads] = turn(query[:, heads], target.channels[list(pairs)], angle(pairs))
    copies = _copies_of_keys(target, call.query.shape[1], call.key.shape[1])
    outcome = None
    for number in range(max(map(len, copies))):
        key, heads = call.key.clone(), []
        for kv_head, copy in enumerate(copies):
            pairs, users = copy[min(number, len(copy) - 1)]
            if pairs:
                key[:, kv_head] = turn(key[:, kv_head], target.channels[list(pairs)], angle(pairs))
            heads += users
        found = replace(call, query=query, key=key).attend()
        outcome = found if outcome is None else keep_heads(outcome, found, heads)
    return outcome


def drop_pairs(call: AttentionCall, target: Target, change: Intervention, positions: Tensor) -> Any:
    """Attend without the chosen pairs: their part of the query is zero, so their contribution is."""
    query = call.query.clone()
    for pairs, heads in target.heads_by_pairs().items():
        channels = target.channels[list(pairs)].ravel().tolist()
        for head in heads:
            query[:, head, :, channels] = 0
    return replace(call, query=query).attend()


def scale_logits(call: AttentionCall, target: Target, change: Intervention, positions: Tensor) -> Any:
    """Attend with logits that grow with the logarithm of the position (``evaluate.log_attention``)."""
    assert change.train_len is not None  # checked on construction
    factor = log_factor(int(positions[-1]) + 1, change.train_len).to(call.query.device)[positions]
    query, heads = call.query.clone(), list(target.pairs)
    query[:, heads] = (query[:, heads] * factor[:, None]).to(query.dtype)
    return replace(call, query=query).attend()


def keep_heads(outcome: Any, other: Any, heads: Sequence[int]) -> Any:
    """Replace the output of some query heads, and their weights where the model returns them."""
    output, weights = outcome[0].clone(), outcome[1]
    output[:, :, heads] = other[0][:, :, heads]
    if weights is not None:
        weights = weights.clone()
        weights[:, heads] = other[1][:, heads]
    return output, weights


def _wanted_frequencies(target: Target, change: Intervention) -> Float[np.ndarray, " pair"]:
    if change.kind == "freeze":
        return np.zeros_like(target.inv_freq)
    if change.kind == "interpolate":
        assert change.factor is not None  # checked on construction
        return target.inv_freq / change.factor
    assert change.base is not None  # likewise
    return plain_inv_freq(2 * len(target.inv_freq), change.base)


def _copies_of_keys(target: Target, query_heads: int, kv_heads: int) -> list[list[tuple[Pairs, list[int]]]]:
    """List, for each key head, the pair sets its query heads need it turned by, and which heads those are."""
    group = query_heads // kv_heads
    copies: list[list[tuple[Pairs, list[int]]]] = []
    for kv_head in range(kv_heads):
        users: dict[Pairs, list[int]] = {}
        for head in range(kv_head * group, (kv_head + 1) * group):
            users.setdefault(target.pairs.get(head, ()), []).append(head)
        copies.append(list(users.items()))
    return copies
