"""Lag limits: chosen pairs contribute at lags beyond a limit what they would at a lag within it.

Up to its limit L a pair contributes the ordinary way. Beyond it its lag counts as another one:

==============  ========================================================================
clip            L, whatever the lag
fold            a triangle wave between L / 2 and L: L at L, L / 2 at 3 L / 2, L again at 2 L, ...
==============  ========================================================================

At a lag m that counts as f, a pair with frequency w contributes what its rotated query and key do once the
key is turned back by (f - m) w. Between two knots of the map f is a line, so over a block of queries that
angle is one of the key plus one of the query, and a product of matrices takes all pairs at once: with the
line on which the lag of the first query lies. The few keys whose lags to the block lie on both sides of a
knot are corrected by the difference of two lines, a triangle of queries and keys for each pair and knot.

Where all pairs of a head are clipped at one limit, two halves are enough: near keys with the tapped vectors,
far keys with the query turned to the limit and the key turned back to 0.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ropediag.intervene.intervention import Intervention, Pairs
from ropediag.intervene.selection import Target
from ropediag.intervene.streaming import BlockLogits, stream_heads
from ropediag.intervene.turning import turn
from ropediag.models.tap import AttentionCall

_ROWS = 64  # queries of a block of the general routine
_KNOTS = 1024  # corrected at once: 16 MiB in float32, a few times over


def clip_lag(lag: Float[Tensor, " lag"], limit: float) -> Float[Tensor, " lag"]:
    """Count every lag above the limit as the limit, tokens."""
    return lag.clamp(max=limit)


def fold_lag(lag: Float[Tensor, " lag"], limit: float) -> Float[Tensor, " lag"]:
    """Fold lags above the limit back into its upper half: a triangle wave from limit / 2 to limit, tokens."""
    beyond = torch.remainder(lag - limit, limit)
    return torch.where(lag > limit, torch.maximum(beyond, limit - beyond), lag)


LAG_MAPS: dict[str, Callable[[Tensor, float], Tensor]] = {"clip": clip_lag, "fold": fold_lag}
BEYOND = {"clip": 0, "fold": -1}  # slope of every second line of the map, from the limit on; of the others 1


def lag_line(
    kind: str, lag: Float[Tensor, " lag"], limit: float
) -> tuple[Int[Tensor, " lag"], Float[Tensor, " lag"]]:
    """Return the line of a map on which each lag lies: it counts as slope x lag + offset.

    Returns
    -------
    slope, and offset in tokens
    """
    longest = torch.full((len(lag), 1), limit, dtype=torch.float64)
    line = _number_lines(kind, lag.double(), longest[:1])[0, :, None]
    ends = [_extend_line(kind, line, torch.full_like(line, at), longest, BEYOND[kind] - 1) for at in (0, 1)]
    return (1 + ends[1] - ends[0]).round().long()[:, 0], ends[0][:, 0]


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
            makers[key] = LagTables(target, kind, own, positions).make_logits
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
    """The general routine: a limit for each pair, by tables of angles over the lag.

    Parameters
    ----------
    target : frequencies and channels of the layer
    kind : one of ``LAG_MAPS``
    limits : pair -> limit, tokens
    positions : of the tokens
    """

    def __init__(
        self, target: Target, kind: str, limits: Mapping[int, float], positions: Int[Tensor, " position"]
    ) -> None:
        device = positions.device
        self.length, self.rows = len(positions), _ROWS
        self.channels = torch.tensor(target.channels[list(limits)], device=device)
        self.inv_freq = torch.tensor(target.inv_freq[list(limits)], device=device)
        self.steeper = BEYOND[kind] - 1  # what the slope of a far line exceeds that of the lag by
        # From the longest lag down, as keys follow each other, and on below 0: a block has later keys, too.
        lag = torch.arange(self.length - 1, -self.rows, -1, dtype=torch.float64)
        limit = torch.tensor(list(limits.values()), dtype=torch.float64)[:, None]
        mapped = torch.stack([LAG_MAPS[kind](lag, own) for own in limits.values()])
        angle = (mapped - lag).to(device) * self.inv_freq[:, None]
        self.cos, self.sin = angle.cos(), angle.sin()
        lines = _number_lines(kind, lag, limit)
        self.near = (lines % 2 == 0).to(device)
        pair, place = torch.nonzero(lines[:, :-1] != lines[:, 1:], as_tuple=True)
        first = self.length - 1 - place  # of the lags beyond each knot
        order = first.argsort(stable=True)
        pair, place, first = pair[order], place[order], first[order]
        self.knots, self.owner = first.tolist(), pair.to(device)
        before = first[:, None] - 1 - torch.arange(self.rows - 1)  # lags of the first query to the keys
        frequency = self.inv_freq.cpu()[pair][:, None]
        tables = torch.zeros(2, 2, *before.shape, dtype=torch.float64)  # near and far line; cos and sin
        for sign, line in ((1, lines[pair, place]), (-1, lines[pair, place + 1])):
            turned = _extend_line(kind, line[:, None], before, limit[pair], self.steeper) * frequency
            for far in (0, 1):
                own = sign * (line % 2 == far)[:, None]
                tables[far] += torch.stack([own * turned.cos(), own * turned.sin()])
        self.change = tables.to(device)

    def make_logits(
        self, query: Float[Tensor, "position head_dim"], key: Float[Tensor, "position head_dim"]
    ) -> BlockLogits:
        """Make the logits of one head."""
        head = _Head(self, query, key)

        def block_logits(start: int, stop: int, first: int) -> Tensor:
            logits = query.new_zeros(stop - start, stop - first)
            for above in range(start, stop, self.rows):
                below = min(above + self.rows, stop)
                logits[above - start : below - start, : below - first] = head.multiply(above, below, first)
            return logits

        return block_logits


class _Head:
    """The vectors of one head, whole and split into pairs, and the tables in their data type."""

    def __init__(self, tables: LagTables, query: Tensor, key: Tensor) -> None:
        self.tables, self.query, self.key = tables, query, key
        self.queries, self.keys = (x[:, tables.channels].permute(1, 2, 0).contiguous() for x in (query, key))
        self.padded = nn.functional.pad(self.keys, (tables.rows, tables.rows))
        self.cos, self.sin, self.near, self.change = (
            table.to(query.dtype) for table in (tables.cos, tables.sin, tables.near, tables.change)
        )
        steps = torch.arange(tables.rows, device=query.device)
        angle = tables.steeper * steps * tables.inv_freq[:, None]
        self.step_cos, self.step_sin = angle.cos().to(query.dtype), angle.sin().to(query.dtype)

    def multiply(self, start: int, stop: int, first: int) -> Float[Tensor, "query key"]:
        """Logits of a few queries, start .. stop - 1, with the keys first .. stop - 1."""
        begin = self.tables.length - 1 - start + first
        shown = slice(begin, begin + stop - first)
        turned = _turn_back(self.keys[:, :, first:stop], self.cos[:, shown], self.sin[:, shown])
        near = self.near[:, None, shown] * turned
        key = self.key[first:stop].clone()
        key[:, self.tables.channels] = near.permute(2, 0, 1)
        far_query = self._turn_queries(start, stop)
        logits = self.query[start:stop] @ key.T
        logits += far_query.flatten(0, 1).T @ (turned - near).flatten(0, 1)
        self._correct(logits, far_query, start, stop, first)
        return logits

    def _turn_queries(self, start: int, stop: int) -> Float[Tensor, "pair 2 query"]:
        """Turn queries by what the far line makes of their distance from the first one."""
        a, b = self.queries[:, :, start:stop].unbind(1)
        cos, sin = self.step_cos[:, : stop - start], self.step_sin[:, : stop - start]
        return torch.stack([a * cos - b * sin, b * cos + a * sin], dim=1)

    def _correct(self, logits: Tensor, far_query: Tensor, start: int, stop: int, first: int) -> None:
        """Add the difference of two lines where the lag has crossed a knot since the first query."""
        tables, width = self.tables, self.tables.rows - 1
        crossed = bisect_right(tables.knots, stop - 1 - first)
        if not width:
            return
        both = torch.cat([self.queries[:, :, start:stop], far_query], dim=1)
        rows, columns = (torch.arange(size, device=logits.device) for size in (stop - start, width))
        later = (rows[:, None] > columns).to(logits.dtype)
        for begun in range(0, crossed, _KNOTS):
            some = slice(begun, min(begun + _KNOTS, crossed))
            begins = [start - knot + 1 for knot in tables.knots[some]]  # first key, may lie before all
            keys = torch.tensor(begins, device=logits.device)[:, None] + columns + tables.rows
            vectors = self.padded[tables.owner[some, None], :, keys].permute(0, 2, 1)
            right = torch.cat([_turn_back(vectors, *self.change[line, :, some]) for line in (0, 1)], dim=1)
            triangles = both[tables.owner[some]].transpose(1, 2) @ right * later
            for begin, triangle in zip(begins, triangles, strict=True):
                low, high = max(begin, first), min(begin + width, stop)
                logits[:, low - first : high - first] += triangle[:, low - begin : high - begin]


def _turn_back(
    vectors: Float[Tensor, "pair 2 key"], cos: Float[Tensor, "pair key"], sin: Float[Tensor, "pair key"]
) -> Float[Tensor, "pair 2 key"]:
    a, b = vectors.unbind(1)
    return torch.stack([a * cos + b * sin, b * cos - a * sin], dim=1)


def _number_lines(
    kind: str, lag: Float[Tensor, " lag"], limit: Float[Tensor, "pair 1"]
) -> Int[Tensor, "pair lag"]:
    """Number the lines of a map, 0 up to the limit; on even ones, the near lines, it rises with the lag."""
    beyond = lag - limit
    number = 1 + (beyond / (limit / 2)).floor() if kind == "fold" else torch.ones_like(beyond)
    return torch.where(beyond > 0, number, 0.0).long()


def _extend_line(
    kind: str,
    line: Int[Tensor, "knot 1"],
    lag: Int[Tensor, "knot key"],
    limit: Float[Tensor, "knot 1"],
    steeper: int,
) -> Float[Tensor, "knot key"]:
    """What a lag counts as on a line of the map, less the lag, wherever the lag lies."""
    falling = limit + limit / 2 * (line + 1) if kind == "fold" else limit
    return torch.where(line % 2 == 0, -line * limit / 2, steeper * lag + falling)


def _keep_active(limits: Mapping[int, float], last: int) -> dict[int, float]:
    """Leave out the pairs whose limit no lag exceeds."""
    return {pair: limit for pair, limit in limits.items() if limit < last}
