"""First and second moments of every pair's contribution, by lag, over all query-key pairs, exactly.

The contribution of a pair, c(t, s) = q(t) . k(s) on two channels, summed over all t at a fixed lag
t - s, is a cross-correlation along positions; so is the sum of its squares, since
(q1 k1 + q2 k2)^2 = q1^2 k1^2 + 2 q1 q2 k1 k2 + q2^2 k2^2. FFTs in float64 give both at every lag in
O(length log length), in blocks of positions, so that the sums of up to eight groups of query
positions come out apart: they are the replicates behind the standard errors.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ropediag.schema import REPLICATES

MEAN_BLOCKS = 16  # blocks of positions for the means: eight replicates up to a lag of half the length
SQUARE_BLOCKS = 4  # for the squares, where no replicates are wanted; the fastest of 1, 2, 4, 8 on a CPU
DIRECT_LAGS = 64  # the longest lags have few terms: summed one by one, free of FFT rounding
SCRATCH = {"cpu": 2**26, "cuda": 2**31}  # bytes


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
    key: Float[Tensor, "position head_dim"],
    channels: Int[np.ndarray, "pair 2"],
    edges: list[int],
    lags: int,
) -> LagSums:
    """Sum every pair's contributions and their squares, for query heads that share one key head.

    Parameters
    ----------
    query : rotated queries times the logit scaling
    key : rotated keys
    channels : the two channels of each pair
    edges : lower edges of the lag bins
    lags : lags 0 .. lags - 1 exist; fewer than positions in a layer with a window
    """
    heads, length, _ = query.shape
    pairs = len(channels)
    count = torch.tensor(count_by_lag(length).sum(0)[:lags], device=query.device)
    total = np.zeros((heads, REPLICATES, pairs, len(edges)))
    square, low, high = (np.full((heads, pairs, len(edges)), fill) for fill in (0.0, np.nan, np.nan))
    query, key = query.mT.contiguous(), key.T.contiguous()  # each channel in one piece of memory
    step = _rows_at_once(query, heads)
    for start in range(0, pairs, step):
        rows = slice(start, min(start + step, pairs))
        chosen = torch.tensor(channels[rows], device=query.device)
        q, k = query[:, chosen].double(), key[chosen].double()
        grouped = correlate(q, k, lags, MEAN_BLOCKS, REPLICATES)
        total[:, :, rows] = _bins(grouped, edges, torch.sum).permute(0, 2, 1, 3).cpu().numpy()
        means = grouped.sum(2) / count
        filled = sum(edge < lags for edge in edges)
        low[:, rows, :filled] = _bins(means, edges, torch.amin)[..., :filled].cpu().numpy()
        high[:, rows, :filled] = _bins(means, edges, torch.amax)[..., :filled].cpu().numpy()
        squares = correlate(_products(q, 2.0), _products(k, 1.0), lags, SQUARE_BLOCKS, 1)
        square[:, rows] = _bins(squares[:, :, 0], edges, torch.sum).cpu().numpy()
    return LagSums(total, square, low, high)


def sum_rest_by_lag(
    query: Float[Tensor, "query_head position head_dim"],
    key: Float[Tensor, "position head_dim"],
    channels: Int[np.ndarray, " channel"],
    edges: list[int],
    lags: int,
) -> Float[np.ndarray, "query_head bin"]:
    """Sum the joint contribution of the channels that are not rotated, by lag bin."""
    total = torch.zeros(len(query), lags, dtype=torch.float64, device=query.device)
    query, key = query.mT.contiguous(), key.T.contiguous()
    step = 2 * _rows_at_once(query, len(query))
    for start in range(0, len(channels), step):
        chosen = torch.tensor(channels[start : start + step], device=query.device)
        q, k = query[:, None, chosen].double(), key[None, chosen].double()
        total += correlate(q, k, lags, SQUARE_BLOCKS, 1)[:, 0, 0]
    return _bins(total, edges, torch.sum).cpu().numpy()


def correlate(
    query: Float[Tensor, "head row channel position"],
    key: Float[Tensor, "row channel position"],
    lags: int,
    blocks: int,
    groups: int,
) -> Float[Tensor, "head row group lag"]:
    """Sum query(t) * key(t - lag) over channels and positions t, apart for groups of positions t.

    Positions are cut into ``blocks``; the spectra of one block of queries and one of keys give all
    lags between the two. The blocks of queries that reach a lag are shared out evenly among the
    groups, in order; where fewer blocks than groups reach it, the last groups stay empty.
    """
    length = query.shape[-1]
    block = _block_size(length, blocks)
    count = -(-length // block)
    query_spectra = _block_spectra(query, block)
    key_spectra = _block_spectra(key, block).conj_physical_()
    heads, rows = query.shape[:2]
    sums = query.new_zeros(heads, rows, groups, (count + 1) * block)
    for offset in range(min(count, -(-lags // block) + 1)):
        spectrum = query_spectra.new_zeros(min(groups, count - offset), heads, rows, block + 1)
        for index in range(offset, count):
            total = spectrum[_group(index, offset, count, groups)]
            for channel in range(query.shape[2]):
                total.addcmul_(query_spectra[:, :, channel, index], key_spectra[:, channel, index - offset])
        piece = torch.fft.irfft(spectrum, 2 * block).permute(1, 2, 0, 3)
        filled = sums[:, :, : len(spectrum)]
        filled[..., offset * block : (offset + 1) * block] += piece[..., :block]
        if offset:
            filled[..., (offset - 1) * block : offset * block] += piece[..., block:]
    sums = sums[..., :lags]
    _replace_longest(sums, query, key, block, count)
    return sums


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
    padded = torch.nn.functional.pad(x, (0, -x.shape[-1] % block))
    return torch.fft.rfft(padded.unflatten(-1, (-1, block)), 2 * block)


def _replace_longest(sums: Tensor, query: Tensor, key: Tensor, block: int, count: int) -> None:
    """Put sums taken term by term in the place of the last lags, where FFT rounding weighs most."""
    length, lags, groups = query.shape[-1], sums.shape[-1], sums.shape[2]
    first = max(0, length - DIRECT_LAGS)
    if first >= lags:
        return
    t, lag = np.meshgrid(np.arange(first, length), np.arange(first, lags), indexing="ij")
    t, lag = t[t >= lag], lag[t >= lag]
    offset = t // block - (t - lag) // block
    slot = _group(t // block, offset, count, groups) * (lags - first) + lag - first
    terms = (query[..., torch.as_tensor(t)] * key[..., torch.as_tensor(t - lag)]).sum(2)
    direct = sums.new_zeros(*sums.shape[:2], groups * (lags - first))
    direct.index_add_(-1, torch.as_tensor(slot, device=sums.device), terms)
    sums[..., first:] = direct.unflatten(-1, (groups, -1))


def _products(x: Float[Tensor, "... 2 position"], cross: float) -> Float[Tensor, "... 3 position"]:
    first, second = x.unbind(-2)
    return torch.stack([first * first, cross * first * second, second * second], dim=-2)


def _bins(values: Float[Tensor, "... lag"], edges: list[int], reduce) -> Float[Tensor, "... bin"]:
    """Reduce the lags of each bin; bins past the last lag are zero."""
    lags = values.shape[-1]
    stops = [min(stop, lags) for stop in [*edges[1:], lags]]
    columns = [
        reduce(values[..., start:stop], dim=-1) if start < lags else values.new_zeros(values.shape[:-1])
        for start, stop in zip(edges, stops, strict=True)
    ]
    return torch.stack(columns, dim=-1)


def _rows_at_once(query: Tensor, heads: int) -> int:
    """Pairs whose spectra and sums fit into the scratch memory: about 200 bytes a position each."""
    return max(1, SCRATCH[query.device.type] // (200 * query.shape[-1] * heads))
