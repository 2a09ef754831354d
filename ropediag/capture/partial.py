"""Mean and spread over keys of a group of pairs' joint logit, for every query, exactly.

The joint contribution of a group of pairs is q . k on their channels. Its mean over the keys a query
sees is q . mean(k), and its mean square q' M q with M the keys' second moments: running sums over
the keys give both without a row of logits. Keys near the query are taken one by one.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

BLOCK = 128  # queries that share one running sum


def key_moments(
    query: Float[Tensor, "query_head position head_dim"],
    key: Float[Tensor, "position head_dim"],
    channels: Int[Tensor, " channel"],
    window: int | None = None,
) -> tuple[Float[Tensor, "query_head position"], Float[Tensor, "query_head position"]]:
    """Mean and variance, over the visible keys, of the logit on ``channels``.

    Parameters
    ----------
    query : rotated queries times the logit scaling, of heads that share one key head
    key : rotated keys
    channels : channels of the head that the group of pairs lives on; none gives zeros
    window : lags 0 .. window - 1 are visible; None for all

    Returns
    -------
    mean, variance : (query_head, position) float64, logit and logit squared
    """
    heads, length, _ = query.shape
    mean = torch.zeros(heads, length, dtype=torch.float64, device=query.device)
    variance = torch.zeros_like(mean)
    visible = length if window is None else min(window, length)
    block = min(BLOCK, visible)
    past = _RunningKeys(key, channels)
    gone = _RunningKeys(key, channels)
    for start in range(0, length, block):
        stop = min(start + block, length)
        oldest = max(0, start - visible + 1)  # the oldest key any query of the block sees
        common = max(0, stop - visible)  # the oldest key all of them see
        past.add_until(start)
        gone.add_until(min(common, start))
        q = query[:, start:stop][..., channels].double()
        first = q @ (past.total - gone.total)
        second = ((q @ (past.square - gone.square)) * q).sum(-1)
        positions = torch.arange(start, stop, device=query.device)
        for low, high in ((oldest, min(common, start)), (start, stop)):
            near = q @ key[low:high][:, channels].double().T
            lag = positions[:, None] - torch.arange(low, high, device=query.device)
            near = near * ((lag >= 0) & (lag < visible))
            first = first + near.sum(-1)
            second = second + near.square().sum(-1)
        count = (positions + 1).clamp(max=visible)
        mean[:, start:stop] = first / count
        variance[:, start:stop] = (second / count - (first / count).square()).clamp(min=0)
    return mean, variance


class _RunningKeys:
    """First and second moments of the keys before a position, summed as it advances."""

    def __init__(self, key: Float[Tensor, "position head_dim"], channels: Int[Tensor, " channel"]):
        size = len(channels)
        self.total = torch.zeros(size, dtype=torch.float64, device=key.device)
        self.square = torch.zeros(size, size, dtype=torch.float64, device=key.device)
        self._key, self._channels, self._position = key, channels, 0

    def add_until(self, position: int) -> None:
        keys = self._key[self._position : position][:, self._channels].double()
        self.total += keys.sum(0)
        self.square += keys.T @ keys
        self._position = position


def average_bins(
    values: Float[Tensor, "query_head position"], edges: list[int]
) -> Float[Tensor, "query_head position_bin"]:
    """Average the positions of each bin."""
    stops = [*edges[1:], values.shape[-1]]
    return torch.stack([values[:, a:b].mean(-1) for a, b in zip(edges, stops, strict=True)], dim=-1)
