"""Sums of logits over the visible pairs of cells, exactly, without visiting the pairs of most cells.

Over a full cell the sum of query . key is (sum of queries) . (sum of keys). Only cells that the diagonal or
the window cuts are multiplied out; either cuts no more of them than there are rows and columns. Products are
float32, sums float64.
"""

import numpy as np
from jaxtyping import Float, Int

from ropediag.analysis.map_grid import Grid

Vectors = Float[np.ndarray, "position channel"]
Sums = Float[np.ndarray, "cell channel"]


def sum_vectors(vectors: Vectors, first: int, stop: int, step: int) -> Sums:
    """Sum the vectors of each cell of positions, from ``first`` to ``stop``."""
    return np.add.reduceat(vectors[first:stop], np.arange(0, stop - first, step), axis=0, dtype=np.float64)


def sum_cells(
    query: Vectors, key: Vectors, grid: Grid, channels: Int[np.ndarray, " chosen"] | slice = slice(None)
) -> Float[np.ndarray, "row column"]:
    """Sum the logits of the visible pairs of each cell.

    Parameters
    ----------
    query, key : of the whole sequence, rotated, queries times the logit scaling
    grid : the cells
    channels : which channels make the logit

    Returns
    -------
    float64 array; 0 where no pair is visible
    """
    queries = sum_vectors(query, int(grid.query[0]), grid.query_stop, grid.query_step)
    keys = sum_vectors(key, int(grid.key[0]), grid.key_stop, grid.key_step)
    total = queries[:, channels] @ keys[:, channels].T
    seen, cut = grid.tell_cells()
    total[~seen] = 0.0
    query_ends, key_ends = grid.query_ends, grid.key_ends
    masks: dict[tuple[int, ...], np.ndarray] = {}
    for row, column in zip(*np.nonzero(cut), strict=True):
        first, start = int(grid.query[row]), int(grid.key[column])
        size = int(query_ends[row]) - first, int(key_ends[column]) - start
        mask = masks.get((first - start, *size))
        if mask is None:
            mask = masks[first - start, *size] = _see(first - start, size, grid.window)
        q, k = query[first : first + size[0], channels], key[start : start + size[1], channels]
        total[row, column] = ((q @ k.T) * mask).sum(dtype=np.float64)
    return total


def _see(shift: int, size: tuple[int, int], window: int) -> Float[np.ndarray, "query key"]:
    """Mark with 1 the keys that each query of a cell sees, the first query ``shift`` after the first key."""
    lag = shift + np.arange(size[0])[:, None] - np.arange(size[1])
    return ((lag >= 0) & (lag < window)).astype(np.float32)
