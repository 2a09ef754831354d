"""What pairs contribute at lags beyond their limits, and its gradient: a matrix product for each span.

At lag m - n a pair contributes Re(q conj(k)) of its rotated query q at m and key k at n, each two channels
as a complex number. Where the lag counts as slope x lag + offset (``intervene.lag_limits.lag_line``), it is

    Re(q turned by w ((slope - 1) m + offset)  conj(k turned by w (slope - 1) n))

with frequency w. Over a span of lags in which no pair changes its line and that lies in one lag bin, both are
therefore one product of matrices over all pairs. Exact.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ropediag.intervene.lag_limits import BEYOND, lag_line
from ropediag.intervene.selection import Target

FIRST_KEYS = 4  # keys that count as first ones: attention sinks


@dataclass(frozen=True, eq=False)
class Span:
    """Lags start .. stop - 1, over which all is smooth.

    Attributes
    ----------
    bin : lag bin they lie in
    falls : whether no lag counts as one that rises with it
    rises : (pair,) whether the lag counts as one that rises with it; of the pairs whose limit lies below,
        the pair with the smallest limit first
    offset : (pair,) likewise
    """

    start: int
    stop: int
    bin: int
    falls: bool
    rises: Tensor
    offset: Tensor


@dataclass(frozen=True, eq=False)
class FarTables:
    """The pairs of one layer that have gates, the one with the smallest limit first.

    Attributes
    ----------
    order : (pair,) their places among the gated pairs of the layer
    channels : (pair, 2)
    inv_freq : (pair,) radians a token
    fall : slope of the lines on which a lag does not rise
    spans : from the smallest limit to the longest lag
    """

    order: Tensor
    channels: Tensor
    inv_freq: Tensor
    fall: int
    spans: tuple[Span, ...]

    @classmethod
    def build(
        cls, target: Target, limits: Mapping[int, float], kind: str, length: int, edges: Sequence[int]
    ) -> "FarTables":
        """Cut the lags of a text into spans.

        Parameters
        ----------
        target : frequencies and channels of the layer
        limits : gated pair -> limit, tokens
        kind : one of ``LAG_MAPS``
        length : tokens
        edges : lower edges of the lag bins
        """
        pairs, values = list(limits), np.array(list(limits.values()))
        order = np.argsort(values, kind="stable")
        ordered = [pairs[place] for place in order]
        lag = torch.arange(length, dtype=torch.float64)
        lines = [lag_line(kind, lag, limits[pair]) for pair in ordered]
        slope, offset = (torch.stack(each) for each in zip(*lines, strict=True))
        bins = torch.tensor(np.searchsorted(edges, np.arange(length), "right") - 1)
        changes = (slope.diff().ne(0) | offset.diff().ne(0)).any(0) | bins.diff().ne(0)
        starts = (torch.nonzero(changes)[:, 0] + 1).tolist()
        spans = []
        for start, stop in zip(starts, [*starts[1:], length], strict=True):
            count = int((values < start).sum())
            if count:
                rises = slope[:count, start] == 1
                falls = not bool(rises.any())
                spans.append(Span(start, stop, int(bins[start]), falls, rises, offset[:count, start]))
        return cls(
            torch.tensor(order),
            torch.tensor(target.channels[ordered]),
            torch.tensor(target.inv_freq[ordered]),
            BEYOND[kind],
            tuple(spans),
        )

    def to(self, device: torch.device) -> "FarTables":
        """Bring the tables to a device."""
        spans = (
            replace(span, rises=span.rises.to(device), offset=span.offset.to(device)) for span in self.spans
        )
        order, channels, inv_freq = (each.to(device) for each in (self.order, self.channels, self.inv_freq))
        return FarTables(order, channels, inv_freq, self.fall, tuple(spans))


@dataclass(frozen=True, eq=False)
class FarPart:
    """One span within a block of queries start .. stop - 1: keys low .. high - 1.

    Attributes
    ----------
    span : the lags
    heads : places among the gated heads
    turn : (query, pair) what turns the queries to the lags that count
    left, right : (head, query or key, 4 a pair), whose product is what the pairs contribute as they are less
        what they contribute at the lags that count
    """

    span: Span
    heads: slice
    start: int
    low: int
    high: int
    turn: Tensor
    left: Tensor
    right: Tensor

    def product(self) -> Float[Tensor, "head query key"]:
        """Multiply; what lies outside the lags of the span is zero."""
        return self.keep(self.left @ self.right.transpose(1, 2))

    def keep(self, values: Float[Tensor, "head query key"]) -> Tensor:
        """Set what lies outside the lags of the span to zero, in place."""
        latest = self.start - self.low
        return values.tril_(latest - self.span.start).triu_(latest - self.span.stop + 1)


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


class FarPass:
    """The gated pairs of one layer in one pass.

    Parameters
    ----------
    tables : of the layer, on the device of the vectors
    query : (head, query, channel) of the gated heads, from position ``begin`` on
    key : (head, position, channel), likewise, from position 0 on
    begin : position of the first query
    """

    def __init__(self, tables: FarTables, query: Tensor, key: Tensor, begin: int) -> None:
        self.tables, self.begin, self.kind = tables, begin, query.dtype
        nearest = min((span.start for span in tables.spans), default=key.shape[1])
        self.query, self.key = self._split(query), self._split(key[:, : max(0, key.shape[1] - nearest)])
        steps = torch.arange(self.key.shape[1], dtype=torch.float64, device=query.device)
        self.spin = self._turn(steps[:, None].expand(-1, self.key.shape[2]) * (tables.fall - 1))
        self.spun = self.key * self.spin
        self.falling = _flatten(self.key, self.spun)
        self._inner: tuple[Tensor, Tensor] | None = None

    @property
    def inner(self) -> tuple[Tensor, Tensor]:
        """Gradients by query and key, complex, added up; made when first asked for."""
        if self._inner is None:
            self._inner = torch.zeros_like(self.query), torch.zeros_like(self.key[:, self.begin :])
        return self._inner

    def parts(self, heads: slice, start: int, stop: int, first: int) -> Iterator[FarPart]:
        """Iterate over the spans that queries start .. stop - 1 reach with keys from ``first`` on."""
        position = torch.arange(start, stop, dtype=torch.float64, device=self.query.device)[:, None]
        for span in self.tables.spans:
            low, high = max(first, start - span.stop + 1), stop - span.start
            if low >= high:
                continue
            count = len(span.offset)
            steeper = torch.where(span.rises, 0, self.tables.fall - 1)
            turn = self._turn(position * steeper + span.offset)
            query = self.query[heads, start - self.begin : stop - self.begin, :count]
            right = self.falling[heads, low:high, : 4 * count]
            if not span.falls:
                key = self.key[heads, low:high, :count]
                right = _flatten(key, torch.where(span.rises, key, self.spun[heads, low:high, :count]))
            yield FarPart(span, heads, start, low, high, turn, _flatten(query, -query * turn), right)

    def backward(
        self,
        part: FarPart,
        d_logits: Float[Tensor, "head query key"],
        gate: float,
        gradient: GateGradient,
        wanted: bool,
    ) -> None:
        """Add the gradients of a part: by its gates, and by query and key where wanted.

        Parameters
        ----------
        part : of a block
        d_logits : gradient by the logits of the part's keys, of the gated heads; zero outside its lags
        gate : value of all gates
        gradient : added to
        wanted : whether a gradient by query and key is
        """
        span, count = part.span, len(part.span.offset)
        by_left = d_logits @ part.right
        pairs = self.tables.order[:count]
        gradient.by_lag[part.heads, pairs, span.bin] += _sum_pairs(part.left * by_left)
        few = FIRST_KEYS - part.low
        if few > 0:
            by_few = d_logits[..., :few] @ part.right[:, :few]
            gradient.first_keys[part.heads, pairs] += _sum_pairs(part.left * by_few)
        if not wanted or gate == 1:
            return
        (by_query, by_key), (own, turned) = self.inner, _unflatten(by_left)
        rows = slice(part.start - self.begin, part.start - self.begin + len(part.turn))
        by_query[part.heads, rows, :count] += (gate - 1) * (own - turned * part.turn.conj())
        late = max(part.low, self.begin)
        if late < part.high:
            by_right = d_logits[..., late - part.low :].transpose(1, 2) @ part.left
            own, turned = _unflatten(by_right)
            back = torch.where(span.rises, 1, self.spin[late : part.high, :count].conj())
            places = slice(late - self.begin, part.high - self.begin)
            by_key[part.heads, places, :count] += (gate - 1) * (own + turned * back)

    def add_to(self, d_query: Tensor, d_key: Tensor, heads: Tensor) -> None:
        """Add the gradients to those of all channels.

        Parameters
        ----------
        d_query, d_key : (head, query, channel), of all heads; of the keys from position ``begin`` on
        heads : the gated ones
        """
        for whole, part in ((d_query, self.inner[0]), (d_key, self.inner[1])):
            count = part.shape[1]
            for side, values in zip(self.tables.channels.unbind(-1), (part.real, part.imag), strict=True):
                place = heads[:, None], slice(0, count), side[None]
                whole[place] = whole[place] + values.transpose(1, 2)

    def _split(self, vectors: Tensor) -> Complex[Tensor, "head position pair"]:
        one, two = self.tables.channels.unbind(-1)
        return torch.complex(vectors[..., one], vectors[..., two])

    def _turn(self, tokens: Float[Tensor, "position pair"]) -> Complex[Tensor, "position pair"]:
        """Turns of the first pairs by their angle over so many tokens."""
        angle = tokens * self.tables.inv_freq[: tokens.shape[1]]
        return torch.complex(angle.cos().to(self.kind), angle.sin().to(self.kind))


def _flatten(one: Tensor, two: Tensor) -> Float[Tensor, "head position channel"]:
    """Lay two complex arrays side by side, pair by pair."""
    return torch.cat([torch.view_as_real(one), torch.view_as_real(two)], -1).flatten(-2)


def _unflatten(both: Float[Tensor, "head position channel"]) -> tuple[Tensor, Tensor]:
    one, two = both.unflatten(-1, (-1, 2, 2)).unbind(-2)
    return torch.view_as_complex(one.contiguous()), torch.view_as_complex(two.contiguous())


def _sum_pairs(products: Float[Tensor, "head query channel"]) -> Float[Tensor, "head pair"]:
    return products.sum(1).unflatten(-1, (-1, 4)).sum(-1).double()
