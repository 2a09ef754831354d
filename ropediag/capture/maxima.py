"""Largest logits of a kept head over blocks of queries x keys, exactly: what a zoomed-out map cannot average.

A maximum has no sum to fall back on, so every visible query-key pair is visited, a tile of them at a time;
tiles that no query sees are skipped. Products are float32, as everywhere in a capture.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

TILE = 512  # queries, and keys, at a time, at least a block: 1 MiB of logits


def maximum_by_block(
    query: Float[Tensor, "position head_dim"],
    key: Float[Tensor, "position head_dim"],
    block: int,
    window: int | None = None,
) -> Float[np.ndarray, "query_block key_block"]:
    """Take the largest logit of every block of queries x keys, over the keys that each query sees.

    Parameters
    ----------
    query : rotated queries times the logit scaling, float32
    key : rotated keys, float32
    block : queries, and keys, of a block; the last one may hold fewer
    window : lags 0 .. window - 1 are visible; None for all

    Returns
    -------
    float32 array, NaN where a block holds no visible pair
    """
    length = len(key)
    count, window = -(-length // block), window or length
    found = np.full((count, count), np.nan, dtype=np.float32)
    step = max(TILE // block, 1) * block
    for first in range(0, length, step):
        queries = _fill_up(query[first : first + step], block)
        for start in range(0, first + step, step):
            if start >= length or first - (start + step - 1) >= window:
                continue
            logits = queries @ _fill_up(key[start : start + step], block).T
            _hide(logits, first, start, window, length)
            maxima = _reduce(logits, block).cpu().numpy()
            rows, columns = first // block, start // block
            found[rows : rows + maxima.shape[0], columns : columns + maxima.shape[1]] = maxima
    found[np.isneginf(found)] = np.nan
    return found


def _fill_up(x: Float[Tensor, "position head_dim"], block: int) -> Float[Tensor, "padded head_dim"]:
    """Lengthen to whole blocks; what is added is hidden later."""
    return torch.nn.functional.pad(x, (0, 0, 0, -len(x) % block))


def _hide(logits: Float[Tensor, "query key"], first: int, start: int, window: int, length: int) -> None:
    """Put minus infinity where the query does not see the key; most tiles are visible throughout."""
    queries, keys = logits.shape
    ends = first + queries > length or start + keys > length
    if not ends and first >= start + keys - 1 and first + queries - 1 - start < window:
        return
    t = torch.arange(first, first + queries, device=logits.device)[:, None]
    s = torch.arange(start, start + keys, device=logits.device)
    logits.masked_fill_((s > t) | (t - s >= window) | (t >= length), -torch.inf)


def _reduce(logits: Float[Tensor, "query key"], block: int) -> Float[Tensor, "query_block key_block"]:
    """Queries first: this runs along memory and leaves little for the keys."""
    by_query = logits.unflatten(0, (-1, block)).amax(1)
    return by_query.unflatten(1, (-1, block)).amax(2)
