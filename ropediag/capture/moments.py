"""First and second moments of every pair's contribution, by lag, over all query-key pairs, exactly.

The contribution of a pair, c(t, s) = q(t) . k(s) on two channels, summed over all t at a fixed lag
t - s, is a cross-correlation along positions; so is the sum of its squares, since
(q1 k1 + q2 k2)^2 = q1^2 k1^2 + 2 q1 q2 k1 k2 + q2^2 k2^2. FFTs in float64 give both at every lag in
O(length log length), in blocks of positions, so that the sums of up to eight groups of query
positions come out apart: they are the replicates behind the standard errors.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ropediag.capture.scratch import scratch_bytes
from ropediag.schema import REPLICATES

MEAN_BLOCKS = 16  # blocks of positions for the means: eight replicates up to a lag of half the length
SQUARE_BLOCKS = (
    1  # for the squares, where no replicates are wanted; the fastest of 1, 2, 4, 8, 16 on two cores
)
DIRECT_LAGS = 64  # the longest lags have few terms: summed one by one, free of FFT rounding


@dataclass(frozen=True)
class LagSums:
    """Sums over query-key pairs, by lag bin.

    Attributes
    ----------
    total : (query_head, group, pair, bin) float64, contributions
    square : (query_head, pair, bin) float64, squared contributions
    lag_mean_min, lag_mean_max : (query_head, pair, bin), extremes of the means at single lags; NaN
        where the bin holds no lag
    """

    total: Float[np.ndarray, "query_head group pair bin"]
    square: Float[np.ndarray, "query_head pair bin"]
    lag_mean_min: Float[np.ndarray, "query_head pair bin"]
    lag_mean_max: Float[np.ndarray, "query_head pair bin"]


def sum_by_lag(
    query: Float[Tensor, "query_head position head_dim"],
    key: Float[Tensor, "kv_head position head_dim"],
    channels: Int[np.ndarray, "pair 2"],
    edges: list[int],
    lags: int,
) -> LagSums:
    """Sum every pair's contributions and their squares.

    Parameters
    ----------
    query : rotated queries times the logit scaling; as many heads in a row share a key head
    key : rotated keys
    channels : the two channels of each pair
    edges : lower edges of the lag bins
    lags : lags 0 .. lags - 1 exist; fewer than positions in a layer with a window
    """
    kv_heads, length, _ = key.shape
    pairs, bins, heads = len(channels), len(edges), len(query) // kv_heads
    count = torch.tensor(count_by_lag(length).sum(0)[:lags], device=query.device)
    total = np.zeros((REPLICATES, heads, kv_heads * pairs, bins))
    square, low, high = (np.full((heads, kv_heads * pairs, bins), fill) for fill in (0.0, np.nan, np.nan))
    query, key = _group_heads(query, kv_heads), key.mT
    shared = torch.arange(kv_heads, device=query.device).repeat_interleave(pairs)[:, None]
    chosen = torch.tensor(channels, device=query.device).repeat(kv_heads, 1)
    step = _rows_at_once(query, heads)
    for start in range(0, kv_heads * pairs, step):
        rows = slice(start, min(start + step, kv_heads * pairs))
        q, k = (x[..., shared[rows], chosen[rows], :].double() for x in (query, key))
        sums = query.new_zeros(REPLICATES, heads, len(k), bins, dtype=torch.float64)
        means = query.new_empty(heads, len(k), lags, dtype=torch.float64)
        for first, values in correlate(q, k, lags, MEAN_BLOCKS, REPLICATES):
            _add_bins(sums[: len(values)], values, first, edges)
            means[..., first : first + values.shape[-1]] = values.sum(0)
        means /= count
        total[:, :, rows] = sums.cpu().numpy()
        low[:, rows], high[:, rows] = _extremes(means, edges)
        sums = torch.zeros_like(sums[:1])
        for first, values in correlate(_products(q, 2.0), _products(k, 1.0), lags, SQUARE_BLOCKS, 1):
            _add_bins(sums, values, first, edges)
        square[:, rows] = sums[0].cpu().numpy()
    return LagSums(*(_join_heads(values, kv_heads) for values in (total, square, low, high)))


def sum_rest_by_lag(
    query: Float[Tensor, "query_head position head_dim"],
    key: Float[Tensor, "kv_head position head_dim"],
    channels: Int[np.ndarray, " channel"],
    edges: list[int],
    lags: int,
) -> Float[np.ndarray, "query_head bin"]:
    """Sum the joint contribution of the channels that are not rotated, by lag bin."""
    kv_heads, heads = len(key), len(query) // len(key)
    sums = torch.zeros(1, heads, kv_heads, len(edges), dtype=torch.float64, device=query.device)
    query, key = _group_heads(query, kv_heads), key.mT
    step = max(1, 2 * _rows_at_once(query, heads) // kv_heads)
    for start in range(0, len(channels), step):
        chosen = torch.tensor(channels[start : start + step], device=query.device)
        q, k = query[..., chosen, :].double(), key[:, chosen].double()
        for first, values in correlate(q, k, lags, SQUARE_BLOCKS, 1):
            _add_bins(sums, values, first, edges)
    return _join_heads(sums[0].cpu().numpy(), kv_heads)[:, 0]


def correlate(
    query: Float[Tensor, "head row channel position"],
    key: Float[Tensor, "row channel position"],
    lags: int,
    blocks: int,
    groups: int,
) -> Iterator[tuple[int, Float[Tensor, "group head row lag"]]]:
    """Sum query(t) * key(t - lag) over channels and positions t, apart for groups of positions t.

    Positions are cut into ``blocks``; the spectra of one block of queries and one of keys give all
    lags between the two. The blocks of queries that reach a lag are shared out evenly among the
    groups, in order; where fewer blocks than groups reach it, the last groups are missing.

    Yields
    ------
    first lag, sums : for one block of lags after the other, from 0 to ``lags`` - 1
    """
    heads, rows, channels, length = query.shape
    block = _block_size(length, blocks)
    count = -(-length // block)
    longest = _sum_longest(query, key, lags, block, groups)
    query_spectra = _block_spectra(query, block)
    key_spectra = _block_spectra(key, block).conj_physical_()
    waiting = None
    for offset in range(count + 1):
        if offset < count:
            spectrum = query_spectra.new_zeros(min(groups, count - offset), heads, rows, block + 1)
            for index in range(offset, count):
                total = spectrum[_group(index, offset, count, groups)]
                for channel in range(channels):
                    total.addcmul_(
                        query_spectra[:, :, channel, index], key_spectra[:, channel, index - offset]
                    )
            piece = torch.fft.irfft(spectrum, 2 * block)
        if waiting is not None:
            first = (offset - 1) * block
            if offset < count:
                waiting[: len(piece)] += piece[..., block:]
            waiting = waiting[..., : lags - first]
            _replace_longest(waiting, first, longest, length - DIRECT_LAGS)
            yield first, waiting
            if first + block >= lags:
                return
        waiting = piece[..., :block]


@lru_cache(maxsize=4)
def count_by_lag(
    length: int, blocks: int = MEAN_BLOCKS, groups: int = REPLICATES
) -> Int[np.ndarray, "group lag"]:
    """Count the query positions of each group at each lag, as ``correlate`` shares them out."""
    block = _block_size(length, blocks)
    count = -(-length // block)
    counts = np.zeros((groups, (count + 1) * block), dtype=np.int64)
    local = np.arange(-block, block)
    for offset in range(count):
        for index in range(offset, count):
            queries = min(block, length - index * block)
            keys = min(block, length - (index - offset) * block)
            overlap = np.minimum(queries, keys + local) - np.maximum(local, 0)
            lag = offset * block + local
            group = _group(index, offset, count, groups)
            counts[group, lag[lag >= 0]] += np.maximum(overlap, 0)[lag >= 0]
    counts = counts[:, :length]
    counts.flags.writeable = False
    return counts


def _group_heads(
    query: Float[Tensor, "query_head position head_dim"], kv_heads: int
) -> Float[Tensor, "group kv_head head_dim position"]:
    return query.unflatten(0, (kv_heads, -1)).transpose(0, 1).mT


def _join_heads(
    values: Float[np.ndarray, "*any group kv_row bin"], kv_heads: int
) -> Float[np.ndarray, "query_head *any row bin"]:
    *others, heads, rows, bins = values.shape
    apart = values.reshape(*others, heads, kv_heads, rows // kv_heads, bins)
    return np.moveaxis(apart, (-3, -4), (0, 1)).reshape(kv_heads * heads, *others, rows // kv_heads, bins)


def _block_size(length: int, blocks: int) -> int:
    """Positions in a block: a multiple of 64 where it is larger, since such sizes have fast FFTs."""
    size = -(-length // blocks)
    return size if size <= 64 else -(-size // 64) * 64


def _group(index, offset, count: int, groups: int):
    """Group of the ``index``-th block of queries, against keys ``offset`` blocks before; also for arrays."""
    reaching = count - offset
    return (index - offset) * np.minimum(groups, reaching) // reaching


def _block_spectra(x: Float[Tensor, "... row channel position"], block: int) -> Tensor:
    """Spectra of blocks, padded with zeros to twice their size, (..., row, channel, block, frequency)."""
    missing = -x.shape[-1] % block
    whole = torch.nn.functional.pad(x, (0, missing)) if missing else x
    return torch.fft.rfft(whole.unflatten(-1, (-1, block)), 2 * block)


def _sum_longest(
    query: Tensor, key: Tensor, lags: int, block: int, groups: int
) -> Float[Tensor, "group head row lag"]:
    """Sum the last lags term by term: where there are few terms, FFT rounding weighs most."""
    length, count = query.shape[-1], -(-query.shape[-1] // block)
    first = max(0, length - DIRECT_LAGS)
    t, lag = np.meshgrid(np.arange(first, length), np.arange(first, max(lags, first)), indexing="ij")
    t, lag = t[t >= lag], lag[t >= lag]
    offset = t // block - (t - lag) // block
    slot = _group(t // block, offset, count, groups) * DIRECT_LAGS + lag - first
    terms = (query[..., torch.as_tensor(t)] * key[..., torch.as_tensor(t - lag)]).sum(2)
    sums = query.new_zeros(*query.shape[:2], groups * DIRECT_LAGS)
    sums.index_add_(-1, torch.as_tensor(slot, device=sums.device), terms)
    return sums.unflatten(-1, (groups, DIRECT_LAGS)).movedim(2, 0)


def _replace_longest(sums: Tensor, first: int, longest: Tensor, start: int) -> None:
    """Put the sums taken term by term in the place of those lags of this block that are among them."""
    start = max(0, start)
    low, high = max(start, first), first + sums.shape[-1]
    if low < high:
        sums[..., low - first :] = longest[: len(sums), ..., low - start : high - start]


def _products(x: Float[Tensor, "... 2 position"], cross: float) -> Float[Tensor, "... 3 position"]:
    first, second = x.unbind(-2)
    return torch.stack([first * first, cross * first * second, second * second], dim=-2)


@lru_cache(maxsize=64)
def _runs(edges: tuple[int, ...], first: int, last: int) -> list[tuple[slice, slice, tuple[int, int]]]:
    """Cut lags ``first`` .. ``last`` - 1 at the edges; neighbours of one width are summed as one matrix.

    Returns
    -------
    list of bins, lags counted from ``first``, (bins, width)
    """
    bin_ = max(0, bisect_right(edges, first) - 1)
    bounds = [first, *edges[bin_ + 1 : bisect_left(edges, last)], last]
    runs, start = [], 0
    for width, same in groupby(stop - start for start, stop in pairwise(bounds)):
        count = len(list(same))
        lags = slice(start, start + count * width)
        runs.append((slice(bin_, bin_ + count), lags, (count, width)))
        bin_, start = bin_ + count, lags.stop
    return runs


def _add_bins(
    sums: Float[Tensor, "... bin"], values: Float[Tensor, "... lag"], first: int, edges: list[int]
) -> None:
    """Add the lags of a block that begins at lag ``first`` to their bins."""
    for bins, lags, shape in _runs(tuple(edges), first, first + values.shape[-1]):
        sums[..., bins] += values[..., lags].unflatten(-1, shape).sum(-1)


def _extremes(
    values: Float[Tensor, "... lag"], edges: list[int]
) -> tuple[Float[np.ndarray, "... bin"], Float[np.ndarray, "... bin"]]:
    """Smallest and largest value of each bin, NaN in bins without a lag."""
    low, high = (values.new_full((*values.shape[:-1], len(edges)), torch.nan) for _ in range(2))
    for bins, lags, shape in _runs(tuple(edges), 0, values.shape[-1]):
        part = values[..., lags].unflatten(-1, shape)
        low[..., bins], high[..., bins] = part.amin(-1), part.amax(-1)
    return low.cpu().numpy(), high.cpu().numpy()


def _rows_at_once(query: Tensor, heads: int) -> int:
    """Pairs whose spectra and sums fit into the scratch memory: 424 bytes a position each, as measured."""
    return max(1, scratch_bytes(query.device) // (424 * query.shape[-1] * heads))
