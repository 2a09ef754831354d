"""Attention with gates: logits between those at limited lags and those as they are, and their gradient.

The gate g of a rotary pair scales what the pair contributes beyond its limit:

    logit = sum over pairs of  c_limited + g (c - c_limited)

c is the pair's contribution at the lag as it is, c_limited that at the lag which counts instead
(``intervene.lag_limits``). At g = 1 the model is as it is, at g = 0 each pair keeps to its limit. All gates
have one value here; the gradient is by each gate, in float64 sums over (query, key): by pair and lag bin,
and for the first keys alone.

Queries are taken in blocks, forwards and backwards, so that nothing of size length x length is kept. No gate
affects the tokens up to the smallest limit, the prefix: their keys and values are given, and get no gradient.
What the pairs contribute beyond their limits is in ``attribution.far``. Exact.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ropediag.attribution.far import FarPart, FarPass, FarTables, GateGradient
from ropediag.intervene.selection import Target
from ropediag.intervene.streaming import check_options, mask_logits
from ropediag.models.tap import AttentionCall
from ropediag.schema import lag_edges

VALUES = {"cpu": 2**21, "cuda": 2**26}  # logits of one block of queries, over all its heads
ROWS = {"cpu": 128, "cuda": 256}  # queries of a block; fewer heads at once rather than fewer queries


GradientOf = Callable[[int, torch.device], GateGradient]


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values of the prefix, the tokens that no gate affects, in one layer.

    Attributes
    ----------
    key, value : (1, kv_head, position, channel), as the tap saw them
    mask : of all tokens, as the model made it
    """

    key: Tensor
    value: Tensor
    mask: Any


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
        self.heads, self.pairs, self.bins = tuple(sorted(target.limits)), tuple(limits), len(edges)
        self.limits = tuple(limits.values())
        self._tables = FarTables.build(target, limits, kind, length, edges)
        self._moved: dict[torch.device, FarTables] = {}

    def tables(self, device: torch.device) -> FarTables:
        """Return the tables of the layer on a device."""
        if device not in self._moved:
            self._moved[device] = self._tables.to(device)
        return self._moved[device]

    @property
    def first_query(self) -> int:
        """Position of the first query that some gate can be at work on."""
        return math.floor(min(self.limits)) + 1

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


def attend_gated(
    call: AttentionCall,
    layer: GatedLayer | None,
    gate: float,
    anchor: Tensor,
    gradient_of: GradientOf,
    prefix: Prefix | None = None,
) -> Any:
    """Attend with gates as the model's attention function would.

    Parameters
    ----------
    call : the tapped call, of one sequence
    layer : its gates; None for a layer without
    gate : value of all gates
    anchor : a scalar that requires a gradient; its own stays None
    gradient_of : (layer, device) -> where a backward pass adds the gradient by the gates
    prefix : of the tokens that come before those of the call

    Returns
    -------
    tuple[Tensor, None]
        (1, position, query head, value channel)

    Raises
    ------
    ModelError
        If the call asks for something that is not honoured here.
    """
    rules = replace(call, query=call.query.detach(), key=call.key.detach(), value=call.value.detach())
    if prefix is None:
        empty = rules.key[:, :, :0], rules.value[:, :, :0]
        prefix = Prefix(*empty, call.mask)
    rules = replace(rules, mask=prefix.mask)
    check_options(rules)
    tensors = call.query, call.key, call.value
    return _Gated.apply(*tensors, anchor, layer, rules, gate, gradient_of, prefix), None


class _Gated(torch.autograd.Function):
    """Attention of one layer, whose backward pass makes each block of logits again."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        anchor: Tensor,
        layer: GatedLayer | None,
        call: AttentionCall,
        gate: float,
        gradient_of: GradientOf,
        prefix: Prefix,
    ) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.layer, ctx.call, ctx.gate, ctx.gradient_of, ctx.prefix = layer, call, gate, gradient_of, prefix
        passed = _Pass(layer, call, gate, prefix, query, key, value)
        output = value.new_empty(1, query.shape[2], query.shape[1], value.shape[-1])
        for block in passed.blocks():
            found = passed.weights(block, passed.parts(block))[0] @ passed.value[block.heads, block.keys]
            output[0, block.rows, block.heads] = found.transpose(0, 1).to(output.dtype)
        return output

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Any, ...]:
        query, key, value = ctx.saved_tensors
        passed = _Pass(ctx.layer, ctx.call, ctx.gate, ctx.prefix, query, key, value)
        wanted = any(ctx.needs_input_grad[:3])
        gradient = None if ctx.layer is None else ctx.gradient_of(ctx.call.layer, query.device)
        inner = [torch.zeros_like(passed.query)]
        inner += [torch.zeros_like(part[:, passed.begin :]) for part in (passed.key, passed.value)]
        for block in passed.blocks():
            passed.backward(block, outer[0, block.rows, block.heads].transpose(0, 1), inner, gradient, wanted)
        if passed.far is not None and wanted:
            passed.far.add_to(inner[0], inner[1], passed.gated)
        none = (None,) * 6
        if not wanted:
            return (None, None, None, *none)
        d_query, d_key, d_value = inner
        d_key, d_value = (part.unflatten(0, (key.shape[1], -1)).sum(1) for part in (d_key, d_value))
        grads = (d_query * ctx.call.scaling, d_key, d_value)
        return (*(grad[None].to(query.dtype) for grad in grads), *none)


@dataclass(frozen=True)
class _Block:
    """Queries start .. stop - 1 of some heads with the keys first .. stop - 1.

    ``begin`` is the position of the first query of all, before which no gradient is wanted.
    """

    heads: slice
    begin: int
    start: int
    stop: int
    first: int

    @property
    def span(self) -> tuple[int, int]:
        """First head and one past the last."""
        return self.heads.start, self.heads.stop

    @property
    def rows(self) -> slice:
        """Places of the queries among all queries."""
        return slice(self.start - self.begin, self.stop - self.begin)

    @property
    def keys(self) -> slice:
        """Places of the keys among all keys."""
        return slice(self.first, self.stop)

    @property
    def late(self) -> int:
        """Place among the block's keys of the first one that a gradient is wanted by."""
        return max(0, self.begin - self.first)

    @property
    def late_keys(self) -> slice:
        """Places of these keys among all those that a gradient is wanted by."""
        return slice(max(0, self.first - self.begin), self.stop - self.begin)


class _Pass:
    """One layer in one pass: vectors in float32 or better, key heads repeated for their query heads."""

    def __init__(
        self,
        layer: GatedLayer | None,
        call: AttentionCall,
        gate: float,
        prefix: Prefix,
        query: Float[Tensor, "1 query_head position channel"],
        key: Float[Tensor, "1 kv_head position channel"],
        value: Float[Tensor, "1 kv_head position value_channel"],
    ) -> None:
        kind = torch.promote_types(query.dtype, torch.float32)
        group = query.shape[1] // key.shape[1]
        self.layer, self.call, self.gate, self.begin = layer, call, gate, prefix.key.shape[2]
        self.query = query[0].to(kind) * call.scaling
        self.key, self.value = (
            torch.cat([early[0], late[0]], 1).to(kind).repeat_interleave(group, 0)
            for early, late in ((prefix.key, key), (prefix.value, value))
        )
        self.sinks = None if call.sinks is None else call.sinks.to(kind)
        self.far: FarPass | None = None
        if layer is not None:
            self.gated = torch.tensor(layer.heads, device=query.device)
            self.far = FarPass(
                layer.tables(query.device), self.query[self.gated], self.key[self.gated], self.begin
            )

    def blocks(self) -> Iterator[_Block]:
        """Iterate over blocks of heads and queries, each with the keys that these can see."""
        heads, length, _ = self.key.shape
        device = self.query.device.type
        values, rows = (table.get(device, table["cpu"]) for table in (VALUES, ROWS))
        together = max(1, min(heads, values // (rows * length)))
        step = max(1, min(rows, values // (together * length)))
        for start in range(self.begin, length, step):
            stop, first = min(start + step, length), max(0, start + 1 - (self.call.window or length))
            for head in range(0, heads, together):
                yield _Block(slice(head, min(head + together, heads)), self.begin, start, stop, first)

    def weights(self, block: _Block, parts: Iterable[FarPart]) -> tuple[Tensor, Tensor | None]:
        """Attention weights of a block, (query head, query, key), and the slope of the soft cap."""
        query, key = self.query[block.heads, block.rows], self.key[block.heads, block.keys]
        logits = query @ key.transpose(1, 2)
        if self.gate != 1:
            heads = self._gated_heads(block)
            for part in parts:
                keys = slice(part.low - block.first, part.high - block.first)
                logits[heads, :, keys] -= part.product().mul_(1 - self.gate)
        slope, cap = None, self.call.softcap
        if cap is not None:
            bent = torch.tanh(logits / cap)
            logits, slope = cap * bent, 1 - bent.square()
        logits = self._mask(logits, block)
        if self.sinks is None:
            return logits.softmax(-1), slope
        sinks = self.sinks[block.heads, None, None].expand(-1, logits.shape[1], 1)
        return torch.cat([logits, sinks], -1).softmax(-1)[..., :-1], slope

    def parts(self, block: _Block) -> Iterator[FarPart]:
        """Iterate over the spans of far lags of a block's gated heads."""
        if self.far is None or self.layer is None:
            return
        inside = [head in range(*block.span) for head in self.layer.heads]
        if any(inside):
            places = slice(inside.index(True), inside.index(True) + sum(inside))
            yield from self.far.parts(places, block.start, block.stop, block.first)

    def _gated_heads(self, block: _Block) -> Any:
        """Return which heads of a block have gates, as an index."""
        gated = () if self.layer is None else self.layer.heads
        heads = [head - block.heads.start for head in gated if head in range(*block.span)]
        every = len(heads) == block.span[1] - block.span[0]
        return slice(None) if every else torch.tensor(heads, device=self.query.device)

    def _mask(self, logits: Tensor, block: _Block) -> Tensor:
        """Hide what each query does not see."""
        own = self.call.mask
        if own is None and self.call.window is None:  # then only keys as late as the queries
            late = block.start - block.first
            logits[..., late:] = mask_logits(logits[..., late:], self.call, 0, None, block.start, block.start)
            return logits
        if isinstance(own, Tensor) and own.shape[1] > 1:
            own = own[:, block.heads]
        return mask_logits(logits, replace(self.call, mask=own), 0, None, block.start, block.first)

    def backward(
        self,
        block: _Block,
        outer: Float[Tensor, "query_head query value_channel"],
        inner: list[Tensor],
        gradient: GateGradient | None,
        wanted: bool,
    ) -> None:
        """Add the gradients of a block: by query, key and value where wanted, and by the gates."""
        d_query, d_key, d_value = inner
        parts = list(self.parts(block))
        weights, slope = self.weights(block, parts)
        outer = outer.to(weights.dtype)
        d_logits = outer @ self.value[block.heads, block.keys].transpose(1, 2)
        d_logits -= (weights * d_logits).sum(-1, keepdim=True)
        d_logits *= weights
        if slope is not None:
            d_logits *= slope
        if wanted:
            late, keys = slice(block.late, None), block.late_keys
            d_value[block.heads, keys] += weights[..., late].transpose(1, 2) @ outer
            d_query[block.heads, block.rows] += d_logits @ self.key[block.heads, block.keys]
            d_key[block.heads, keys] += (
                d_logits[..., late].transpose(1, 2) @ self.query[block.heads, block.rows]
            )
        if self.far is None or gradient is None or not parts:
            return
        d_gated = d_logits[self._gated_heads(block)]
        for part in parts:
            keys = slice(part.low - block.first, part.high - block.first)
            self.far.backward(part, part.keep(d_gated[..., keys].clone()), self.gate, gradient, wanted)
