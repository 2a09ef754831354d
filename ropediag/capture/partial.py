"""Mean and spread over keys of a group of pairs' joint logit, for every query, exactly.

The joint contribution of a group of pairs is q . k on their channels. Summed over the keys up to a
query it is q . sum(k), and its squares sum to q' (sum k k') q: running sums over the keys give both
without a row of logits. Keys in the query's own block are taken one by one. With a window, the sums
over the keys that have left it, which are the same sums with the keys delayed by the window, are
subtracted.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

BLOCK = 32  # queries that share one running sum
BLOCKS_AT_ONCE = 32

Sums = tuple[Float[Tensor, "*head position"], Float[Tensor, "*head position"]]


def key_moments(
    query: Float[Tensor, "query_head position head_dim"],
    key: Float[Tensor, "kv_head position head_dim"],
    channels: Int[Tensor, " channel"],
    window: int | None = None,
) -> Sums:
    """Mean and variance, over the visible keys, of the logit on ``channels``.

    Parameters
    ----------
    query : rotated queries times the logit scaling; as many heads in a row share a key head
    key : rotated keys
    channels : channels of the head that the group of pairs lives on; none gives zeros
    window : lags 0 .. window - 1 are visible; None for all

    Returns
    -------
    mean, variance : (query_head, position) float64, logit and logit squared
    """
    kv_heads, length, _ = key.shape
    visible = length if window is None else min(window, length)
    query, key = query[..., channels].unflatten(0, (kv_heads, -1)), key[..., channels]
    first, second = _sum_until_query(query, key)
    if visible < length:
        delayed = torch.nn.functional.pad(key[:, : length - visible], (0, 0, visible, 0))
        gone_first, gone_second = _sum_until_query(query, delayed)
        first, second = first - gone_first, second - gone_second
    count = torch.arange(1, length + 1, device=key.device).clamp(max=visible)
    mean = first / count
    variance = (second / count - mean.square()).clamp(min=0)
    return mean.flatten(0, 1), variance.flatten(0, 1)


def _sum_until_query(
    query: Float[Tensor, "kv_head group position channel"], key: Float[Tensor, "kv_head position channel"]
) -> Sums:
    """Sums of q . k and of its square over all keys up to each query's own position."""
    kv_heads, length, size = key.shape
    total = torch.zeros(kv_heads, size, dtype=torch.float64, device=key.device)
    square = torch.zeros(kv_heads, size, size, dtype=torch.float64, device=key.device)
    causal = torch.ones(BLOCK, BLOCK, dtype=torch.bool, device=key.device).tril()
    firsts, seconds = [], []
    for start in range(0, length, BLOCK * BLOCKS_AT_ONCE):
        part = slice(start, min(start + BLOCK * BLOCKS_AT_ONCE, length))
        q, k = _blocks(query[:, :, part]), _blocks(key[:, None, part])
        totals, squares = k.sum(-2), k.mT @ k
        totals_before = totals.cumsum(2) - totals + total[:, None, None]
        squares_before = squares.cumsum(2) - squares + square[:, None, None]
        near = (q @ k.mT) * causal
        first = (q * totals_before[..., None, :]).sum(-1) + near.sum(-1)
        second = ((q @ squares_before) * q).sum(-1) + near.square().sum(-1)
        firsts.append(first.flatten(2)[..., : part.stop - start])
        seconds.append(second.flatten(2)[..., : part.stop - start])
        total, square = total + totals.sum((1, 2)), square + squares.sum((1, 2))
    return torch.cat(firsts, -1), torch.cat(seconds, -1)


def _blocks(x: Float[Tensor, "*head position channel"]) -> Float[Tensor, "*head block inside channel"]:
    """Cut positions into blocks in float64, the last one filled up with zeros."""
    padded = torch.nn.functional.pad(x.double(), (0, 0, 0, -x.shape[-2] % BLOCK))
    return padded.unflatten(-2, (-1, BLOCK))


def average_bins(
    values: Float[Tensor, "query_head position"], edges: list[int]
) -> Float[Tensor, "query_head position_bin"]:
    """Average the positions of each bin, in float64."""
    bounds = torch.tensor([*edges, values.shape[-1]], device=values.device)
    running = torch.nn.functional.pad(values.double().cumsum(-1), (1, 0))[:, bounds]
    return running.diff(dim=-1) / bounds.diff()
