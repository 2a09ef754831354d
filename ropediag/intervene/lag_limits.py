"""Lag limits: chosen pairs contribute at lags beyond a limit what they would at a lag within it.

Up to its limit L a pair contributes the ordinary way. Beyond it its lag counts as another one:

==============  ========================================================================
clip            L, whatever the lag
fold            a triangle wave between L / 2 and L: L at L, L / 2 at 3 L / 2, L again at 2 L, ...
==============  ========================================================================

At a lag m that counts as f, a pair with frequency w contributes what its rotated query and key do once they
are turned by (f - m) w against each other: ``along cos + across sin`` of that angle, where along and across
are products of rank 2 and cos and sin are tables by lag. That is the general routine, a block of queries and
a pair at a time. Where all pairs of a head are clipped at one limit, a product of two halves is faster: near
keys with the tapped vectors, far keys with the query turned to the limit and the key turned back to 0.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ropediag.intervene.intervention import Intervention, Pairs
from ropediag.intervene.selection import Target
from ropediag.intervene.streaming import BlockLogits, stream_heads
from ropediag.intervene.turning import turn
from ropediag.models.tap import AttentionCall

_ROWS = (
    64  # queries that are worked on at once by tables: what they take should stay in the processor's cache
)


def clip_lag(lag: Float[Tensor, " lag"], limit: float) -> Float[Tensor, " lag"]:
    """Count every lag above the limit as the limit, tokens."""
    return lag.clamp(max=limit)


def fold_lag(lag: Float[Tensor, " lag"], limit: float) -> Float[Tensor, " lag"]:
    """Fold lags above the limit back into its upper half: a triangle wave from limit / 2 to limit, tokens."""
    beyond = torch.remainder(lag - limit, limit)
    return torch.where(lag > limit, torch.maximum(beyond, limit - beyond), lag)


LAG_MAPS: dict[str, Callable[[Tensor, float], Tensor]] = {"clip": clip_lag, "fold": fold_lag}


def limit_lags(call: AttentionCall, target: Target, change: Intervention, positions: Tensor) -> Any:
    """Attend with the lags of the chosen pairs limited, each pair at its own limit."""
    last = min(len(positions), call.window or len(positions)) - 1  # the longest lag there is
    active = {head: _keep_active(limits, last) for head, limits in target.limits.items()}
    active = {head: limits for head, limits in active.items() if limits}
    return attend_limited(call, target, change.kind, active, positions) if active else call.attend()


def attend_limited(
    call: AttentionCall,
    target: Target,
    kind: str,
    limits: Mapping[int, Mapping[int, float]],
    positions: Int[Tensor, " position"],
) -> Any:
    """Attend with limited lags in some heads, as the model does in all others.

    Parameters
    ----------
    call : the tapped call
    target : frequencies and channels of the layer
    kind : one of ``LAG_MAPS``
    limits : query head -> pair -> limit, tokens; at least one pair in each head
    positions : of the tokens

    Raises
    ------
    ModelError
        If the call asks for something that is not honoured here.
    """
    makers: dict[tuple[tuple[int, float], ...], Callable[[Tensor, Tensor], BlockLogits]] = {}
    for own in limits.values():
        key = tuple(own.items())
        if key in makers:
            continue
        if kind == "clip" and len(set(own.values())) == 1:
            makers[key] = partial(make_halves, target, tuple(own), next(iter(own.values())), positions)
        else:
            makers[key] = LagTables(target, own, LAG_MAPS[kind], positions).make_logits
    return stream_heads(call, {head: makers[tuple(own.items())] for head, own in limits.items()})


def make_halves(
    target: Target,
    pairs: Pairs,
    limit: float,
    positions: Int[Tensor, " position"],
    query: Float[Tensor, "position head_dim"],
    key: Float[Tensor, "position head_dim"],
) -> BlockLogits:
    """Make the logits of a head whose chosen pairs are all clipped at one limit."""
    channels = target.channels[list(pairs)]
    inv_freq = torch.tensor(target.inv_freq[list(pairs)], device=positions.device)
    back = -positions.double()[:, None] * inv_freq
    far_query, far_key = turn(query, channels, back + limit * inv_freq), turn(key, channels, back)
    longest = math.floor(limit)  # lags are whole

    def block_logits(start: int, stop: int, first: int) -> Tensor:
        near_from = max(first, start - longest)  # keys before it are far from every query of the block
        far_until = stop - 1 - longest  # keys from it on are near to every one
        if far_until <= first:
            return query[start:stop] @ key[first:stop].T
        near = query[start:stop] @ key[near_from:stop].T
        far = far_query[start:stop] @ far_key[first:far_until].T
        queries = torch.arange(start, stop, device=near.device)[:, None]
        keys = torch.arange(near_from, far_until, device=near.device)
        both = far_until - near_from
        near[:, :both] = torch.where(queries - keys > longest, far[:, near_from - first :], near[:, :both])
        return torch.cat([far[:, : near_from - first], near], dim=1)

    return block_logits


class LagTables:
    """The general routine: any lag map with a limit for each pair, by tables of cos and sin over the lag.

    Parameters
    ----------
    target : frequencies and channels of the layer
    limits : pair -> limit, tokens
    lag_map : (lag, limit) -> the lag that it counts as; the lag itself up to the limit
    positions : of the tokens
    """

    def __init__(
        self,
        target: Target,
        limits: Mapping[int, float],
        lag_map: Callable[[Tensor, float], Tensor],
        positions: Int[Tensor, " position"],
    ) -> None:
        device = positions.device
        self.length = len(positions)
        self.longest = [math.floor(limit) for limit in limits.values()]
        self.channels = torch.tensor(target.channels[list(limits)], device=device)
        # From the longest lag down, as keys follow each other, and on below 0: a block has later keys, too.
        lag = torch.arange(self.length - 1, -_ROWS, -1, dtype=torch.float64, device=device)
        lags = torch.stack([lag_map(lag, limit) for limit in limits.values()]) - lag
        angle = lags * torch.tensor(target.inv_freq[list(limits)], device=device)[:, None]
        self.cos, self.sin = angle.cos() - 1, angle.sin()  # what is added to the ordinary contribution

    def make_logits(
        self, query: Float[Tensor, "position head_dim"], key: Float[Tensor, "position head_dim"]
    ) -> BlockLogits:
        """Make the logits of one head."""
        cos, sin = self.cos.to(query.dtype), self.sin.to(query.dtype)
        first_channel, second_channel = self.channels.unbind(-1)
        queries, keys = (
            torch.stack([x[:, first_channel].T, x[:, second_channel].T], dim=1).contiguous()
            for x in (query, key)
        )  # (pair, 2, position)

        def block_logits(start: int, stop: int, first: int) -> Tensor:
            logits = query[start:stop] @ key[first:stop].T
            for above in range(start, stop, _ROWS):
                below = min(above + _ROWS, stop)
                rows = logits[above - start : below - start]
                rows += self._correct(queries, keys, cos, sin, above, below, first, rows.shape[1])
            return logits

        return block_logits

    def _correct(
        self,
        queries: Float[Tensor, "pair 2 position"],
        keys: Float[Tensor, "pair 2 position"],
        cos: Float[Tensor, "pair lag"],
        sin: Float[Tensor, "pair lag"],
        start: int,
        stop: int,
        first: int,
        width: int,
    ) -> Float[Tensor, "query key"]:
        """What the limits add to the logits of some queries, far keys only."""
        found = queries.new_zeros(stop - start, width)  # the last query first: tables run that way
        for pair, longest in enumerate(self.longest):
            far = stop - 1 - longest - first  # keys from here on are near to every query
            if far <= 0:
                continue
            begin = self.length - stop + first
            c, s = (
                table[pair, begin : begin + stop - start + far - 1].unfold(0, far, 1) for table in (cos, sin)
            )
            qa, qb = queries[pair, :, start:stop].flip(1)[..., None]
            ka, kb = keys[pair, :, first : first + far]
            part = ka * c
            found[:, :far].addcmul_(qa, part.addcmul_(kb, s))
            torch.mul(kb, c, out=part)
            found[:, :far].addcmul_(qb, part.addcmul_(ka, s, value=-1))
        return found.flip(0)


def _keep_active(limits: Mapping[int, float], last: int) -> dict[int, float]:
    """Leave out the pairs whose limit no lag exceeds."""
    return {pair: limit for pair, limit in limits.items() if limit < last}
