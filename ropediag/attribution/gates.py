"""Attention with gates: logits between those at limited lags and those as they are, and their gradient.

The gate g of a rotary pair scales what the pair contributes beyond its limit:

    logit = sum over pairs of  c_limited + g (c - c_limited)

c is the pair's contribution at the lag as it is, c_limited that at the lag which counts instead
(``intervene.lag_limits``). At g = 1 the model is as it is, at g = 0 each pair keeps to its limit. All gates
have one value here; the gradient is by each gate, in float64 sums over (query, key): by pair and lag bin,
and for the first keys alone.

Queries are taken in blocks, forwards and backwards, so that nothing of size length x length is kept. A pair
differs from the model's own logits only at lags beyond its limit: there

    c - c_limited = dot (1 - cos a) - cross sin a,    a = frequency x (lag that counts - lag)

with dot and cross of the two channels of the rotated query and key. Exact.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ropediag.intervene.lag_limits import LAG_MAPS
from ropediag.intervene.selection import Target
from ropediag.intervene.streaming import check_options, mask_logits
from ropediag.models.tap import AttentionCall
from ropediag.schema import lag_edges

VALUES = {"cpu": 2**20, "cuda": 2**26}  # logits of one block of queries, over all heads
ROWS = 512  # queries of a block at most
FIRST_KEYS = 4  # keys that count as first ones: attention sinks


@dataclass(frozen=True, eq=False)
class GateGradient:
    """Gradient of the loss by the gates of one layer, nats.

    Attributes
    ----------
    by_lag : float64, (query head, pair, lag bin), of the gated heads and pairs
    first_keys : float64, (query head, pair), the part of it that passes through the first keys
    """

    by_lag: Tensor
    first_keys: Tensor


GradientOf = Callable[[int, torch.device], GateGradient]


class GatedLayer:
    """The gates of one layer.

    Parameters
    ----------
    target : frequencies, channels and lag limits of the layer, the same in each of its query heads
    kind : how lags are limited, one of ``LAG_MAPS``
    length : tokens of a pass
    edges : lower edges of the lag bins
    """

    def __init__(self, target: Target, kind: str, length: int, edges: Sequence[int]) -> None:
        limits = next(iter(target.limits.values()))
        if any(own != limits for own in target.limits.values()):
            raise ValueError("the heads of a layer have different limits")
        self._target, self._kind, self._length = target, kind, length
        self.heads, self.pairs, self.bins = tuple(target.pairs), tuple(limits), len(edges)
        self.limits = tuple(limits.values())
        self.head_dim = int(target.channels.max()) + 1  # channels that rotate lie below it
        self._channels = torch.tensor(target.channels[list(limits)])
        lag = torch.arange(length, dtype=torch.float64)
        counted = torch.stack([LAG_MAPS[kind](lag, limit) for limit in self.limits])
        angle = (counted - lag) * torch.tensor(target.inv_freq[list(limits)])[:, None]
        # Of dot and of cross, longest lag first.
        change = torch.stack([1 - angle.cos(), -angle.sin()]).flip(-1)
        self._change = torch.nn.functional.pad(change, (0, ROWS))  # lags below 0
        self._bin_of_lag = torch.tensor(np.searchsorted(edges, np.arange(length), "right") - 1)

    def attend(self, call: AttentionCall, gate: float, anchor: Tensor, gradient_of: GradientOf) -> Any:
        """Attend with gates as the model's attention function would.

        Parameters
        ----------
        call : the tapped call, of one sequence
        gate : value of all gates
        anchor : a scalar that requires a gradient; its own stays None
        gradient_of : (layer, device) -> where a backward pass adds the gradient by the gates

        Returns
        -------
        tuple[Tensor, None]
            (1, position, query head, value channel)

        Raises
        ------
        ModelError
            If the call asks for something that is not honoured here.
        """
        check_options(call)
        rules = replace(call, query=call.query.detach(), key=call.key.detach(), value=call.value.detach())
        return _Gated.apply(call.query, call.key, call.value, anchor, self, rules, gate, gradient_of), None

    def shorten(self, length: int) -> "GatedLayer":
        """Build gates for fewer tokens that cover the same share of the lags."""
        share = length / self._length
        limits = {
            head: {pair: share * limit for pair, limit in own.items()}
            for head, own in self._target.limits.items()
        }
        return GatedLayer(replace(self._target, limits=limits), self._kind, length, lag_edges(length))

    def empty_gradient(self, device: torch.device) -> GateGradient:
        """Build a gradient of zero, to add to."""
        shape = len(self.heads), len(self.pairs)
        options: dict[str, Any] = {"dtype": torch.float64, "device": device}
        return GateGradient(torch.zeros(*shape, self.bins, **options), torch.zeros(*shape, **options))

    def move(self, device: torch.device, kind: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Bring the tables to a device: what changes by lag, channels, lag bins."""
        return self._change.to(device, kind), self._channels.to(device), self._bin_of_lag.to(device)

    def far_keys(self, pair: int, start: int, stop: int, first: int) -> int:
        """Count the keys from ``first`` on whose lag to some query of a block exceeds the pair's limit."""
        return max(0, math.ceil(stop - 1 - self.limits[pair]) - first)


class _Gated(torch.autograd.Function):
    """Attention of one layer, whose backward pass makes each block of logits again."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        anchor: Tensor,
        layer: GatedLayer,
        call: AttentionCall,
        gate: float,
        gradient_of: GradientOf,
    ) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.layer, ctx.call, ctx.gate, ctx.gradient_of = layer, call, gate, gradient_of
        passed = _Pass(layer, call, gate, query, key, value)
        output = value.new_empty(1, query.shape[2], query.shape[1], value.shape[-1])
        for block in passed.blocks():
            found = passed.weights(block)[0] @ passed.value[:, block.keys]
            output[0, block.queries] = found.transpose(0, 1).to(output.dtype)
        return output

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Any, ...]:
        query, key, value = ctx.saved_tensors
        passed = _Pass(ctx.layer, ctx.call, ctx.gate, query, key, value)
        wanted = any(ctx.needs_input_grad[:3])
        gradient = ctx.gradient_of(ctx.call.layer, query.device)
        inner = [torch.zeros_like(part) for part in (passed.query, passed.key, passed.value)]
        for block in passed.blocks():
            passed.backward(block, outer[0, block.queries].transpose(0, 1), inner, gradient, wanted)
        none = (None,) * 5
        if not wanted:
            return (None, None, None, *none)
        d_query, d_key, d_value = inner
        d_key, d_value = (part.unflatten(0, (key.shape[1], -1)).sum(1) for part in (d_key, d_value))
        grads = (d_query * passed.scaling, d_key, d_value)
        return (*(grad[None].to(query.dtype) for grad in grads), *none)


@dataclass(frozen=True)
class _Block:
    """Queries start .. stop - 1 with the keys first .. stop - 1."""

    start: int
    stop: int
    first: int

    @property
    def queries(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def keys(self) -> slice:
        return slice(self.first, self.stop)


class _Pass:
    """One layer in one pass: vectors in float32 or better, key heads repeated for their query heads."""

    def __init__(
        self,
        layer: GatedLayer,
        call: AttentionCall,
        gate: float,
        query: Float[Tensor, "1 query_head position channel"],
        key: Float[Tensor, "1 kv_head position channel"],
        value: Float[Tensor, "1 kv_head position value_channel"],
    ) -> None:
        kind = torch.promote_types(query.dtype, torch.float32)
        group = query.shape[1] // key.shape[1]
        self.layer, self.call, self.gate, self.scaling = layer, call, gate, call.scaling
        self.query = query[0].to(kind) * call.scaling
        self.key, self.value = (part[0].to(kind).repeat_interleave(group, 0) for part in (key, value))
        self.change, self.channels, self.bin_of_lag = layer.move(query.device, kind)
        every = layer.heads == tuple(range(query.shape[1]))
        self.heads: Any = slice(None) if every else torch.tensor(layer.heads, device=query.device)
        self.sinks = None if call.sinks is None else call.sinks.to(kind)

    def blocks(self) -> Iterator[_Block]:
        """Iterate over blocks of queries, each with the keys that these can see."""
        heads, length, _ = self.query.shape
        values = VALUES.get(self.query.device.type, VALUES["cpu"])
        step = max(1, min(ROWS, values // (heads * length)))
        for start in range(0, length, step):
            yield _Block(start, min(start + step, length), max(0, start + 1 - (self.call.window or length)))

    def weights(self, block: _Block) -> tuple[Tensor, Tensor | None]:
        """Attention weights of a block, (query head, query, key), and the slope of the soft cap."""
        logits = self.query[:, block.queries] @ self.key[:, block.keys].transpose(1, 2)
        if self.gate != 1:
            for pair in range(len(self.layer.pairs)):
                self._limit(logits, block, pair)
        slope, cap = None, self.call.softcap
        if cap is not None:
            bent = torch.tanh(logits / cap)
            logits, slope = cap * bent, 1 - bent.square()
        logits = mask_logits(logits, self.call, 0, None, block.start, block.first)
        if self.sinks is None:
            return logits.softmax(-1), slope
        sinks = self.sinks[:, None, None].expand(-1, logits.shape[1], 1)
        return torch.cat([logits, sinks], -1).softmax(-1)[..., :-1], slope

    def _limit(self, logits: Tensor, block: _Block, pair: int) -> None:
        """Take from the logits what the gate holds back of one pair."""
        far = self.layer.far_keys(pair, block.start, block.stop, block.first)
        if not far:
            return
        query, key, crossed = self._vectors(block, pair, far)
        of_dot, of_cross = self._changes(block, pair, far)
        held = (query @ key.transpose(1, 2)).mul_(of_dot)
        held.add_((query @ crossed.transpose(1, 2)).mul_(of_cross)).mul_(1 - self.gate)
        if isinstance(self.heads, slice):
            logits[..., :far] -= held
        else:
            logits[..., :far].index_add_(0, self.heads, held, alpha=-1)

    def _vectors(self, block: _Block, pair: int, far: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys of one pair, (head, position, 2), and the keys a quarter turn back."""
        channels = self.channels[pair]
        query = self.query[self.heads, block.queries][..., channels]
        key = self.key[self.heads, block.first : block.first + far][..., channels]
        return query, key, torch.stack([key[..., 1], -key[..., 0]], -1)

    def _changes(self, block: _Block, pair: int, far: int) -> tuple[Tensor, Tensor]:
        """Return what limiting lags changes of dot and of cross, (query, key): the same along diagonals."""
        longest, rows = self.query.shape[1] - 1, block.stop - block.start
        # Where the lag of the block's last query to its first key lies.
        last = longest - (block.stop - 1 - block.first)
        of_dot, of_cross = (
            table[last:].as_strided((rows, far), (1, 1)).flip(0) for table in self.change[:, pair]
        )
        return of_dot, of_cross

    def backward(
        self,
        block: _Block,
        outer: Float[Tensor, "query_head query value_channel"],
        inner: list[Tensor],
        gradient: GateGradient,
        wanted: bool,
    ) -> None:
        """Add the gradients of a block: by query, key and value where wanted, and by the gates."""
        d_query, d_key, d_value = inner
        weights, slope = self.weights(block)
        outer = outer.to(weights.dtype)
        d_logits = outer @ self.value[:, block.keys].transpose(1, 2)
        d_logits -= (weights * d_logits).sum(-1, keepdim=True)
        d_logits *= weights
        if slope is not None:
            d_logits *= slope
        if wanted:
            d_value[:, block.keys] += weights.transpose(1, 2) @ outer
            d_query[:, block.queries] += d_logits @ self.key[:, block.keys]
            d_key[:, block.keys] += d_logits.transpose(1, 2) @ self.query[:, block.queries]
        for pair in range(len(self.layer.pairs)):
            far = self.layer.far_keys(pair, block.start, block.stop, block.first)
            if far:
                self._backward_pair(
                    block, pair, far, d_logits[self.heads][..., :far], inner, gradient, wanted
                )

    def _backward_pair(
        self,
        block: _Block,
        pair: int,
        far: int,
        d_logits: Float[Tensor, "head query key"],
        inner: list[Tensor],
        gradient: GateGradient,
        wanted: bool,
    ) -> None:
        query, key, crossed = self._vectors(block, pair, far)
        of_dot, of_cross = self._changes(block, pair, far)
        by_dot, by_cross = d_logits * of_dot, d_logits * of_cross
        if wanted and self.gate != 1:
            held, channels = self.gate - 1, self.channels[pair]
            turned = torch.stack([-query[..., 1], query[..., 0]], -1)
            by_query = (by_dot @ key + by_cross @ crossed).mul_(held)
            by_key = (by_dot.transpose(1, 2) @ query + by_cross.transpose(1, 2) @ turned).mul_(held)
            for whole, part, where in (
                (inner[0], by_query, slice(block.start, block.stop)),
                (inner[1], by_key, slice(block.first, block.first + far)),
            ):
                for side in (0, 1):
                    place = self.heads, where, channels[side]
                    whole[place] = whole[place] + part[..., side]
        by_dot *= query @ key.transpose(1, 2)
        by_dot += by_cross.mul_(query @ crossed.transpose(1, 2))
        gradient.first_keys[:, pair] += by_dot[..., : max(0, FIRST_KEYS - block.first)].sum((1, 2)).double()
        lags, sums = _sum_by_lag(by_dot, block.start - block.first)
        gradient.by_lag[:, pair].index_add_(-1, self.bin_of_lag[lags], sums.double())


def _sum_by_lag(
    values: Float[Tensor, "head query key"], offset: int
) -> tuple[Tensor, Float[Tensor, "head lag"]]:
    """Sum (query, key) arrays over each lag, which is query - key + offset; lags below 0 hold zeros alone.

    Each row is written one place farther left than the one above it, so that a column is a lag.
    """
    heads, rows, columns = values.shape
    width = rows + columns - 1
    skewed = values.new_zeros(heads, rows, width)
    lines = skewed.as_strided(
        (heads, rows, columns), (rows * width, width - 1, 1), skewed.storage_offset() + rows - 1
    )
    lines.copy_(values)
    lags = torch.arange(rows - 1 + offset, offset - columns, -1, device=values.device)
    known = lags >= 0
    return lags[known], skewed.sum(1)[:, known]
