"""The cells of an attention map: which queries and keys each holds, and which of their pairs are visible.

A cell is a rectangle of queries x keys whose sides are powers of two and whose edges are multiples of them,
so a cell holds the same pairs of tokens at every zoom. A query sees keys at lags 0 .. window - 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from ropediag.errors import ConfigError

Region = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Grid:
    """The cells of a map.

    Attributes
    ----------
    query, key : first position of each row, and of each column
    query_step, key_step : positions of a row, and of a column; the last one may hold fewer
    query_stop, key_stop : the position after the last
    window : lags 0 .. window - 1 are visible
    """

    query: Int[np.ndarray, " row"]
    key: Int[np.ndarray, " column"]
    query_step: int
    key_step: int
    query_stop: int
    key_stop: int
    window: int

    @property
    def query_ends(self) -> Int[np.ndarray, " row"]:
        """First query after each row of cells."""
        return np.minimum(self.query + self.query_step, self.query_stop)

    @property
    def key_ends(self) -> Int[np.ndarray, " column"]:
        """First key after each column of cells."""
        return np.minimum(self.key + self.key_step, self.key_stop)

    @property
    def least_step(self) -> int:
        """Tokens along the shorter side of a cell."""
        return min(self.query_step, self.key_step)

    @property
    def pairs(self) -> int:
        """Query-key pairs of the rectangle, visible or not."""
        return int((self.query_stop - self.query[0]) * (self.key_stop - self.key[0]))

    def tell_cells(self) -> tuple[Bool[np.ndarray, "row column"], Bool[np.ndarray, "row column"]]:
        """Tell the cells with a visible pair, and those that the diagonal or the window cuts."""
        shortest = self.query[:, None] - self.key_ends + 1
        longest = self.query_ends[:, None] - 1 - self.key
        seen = (longest >= 0) & (shortest < self.window)
        return seen, seen & ((shortest < 0) | (longest >= self.window))

    def count_visible(self) -> Int[np.ndarray, "row column"]:
        """Count the visible pairs of each cell."""
        sides = self.query[:, None], self.query_ends[:, None], self.key, self.key_ends
        return _count_from(0, *sides) - _count_from(self.window, *sides)


def _count_from(lag: int, q0: np.ndarray, q1: np.ndarray, k0: np.ndarray, k1: np.ndarray) -> np.ndarray:
    """Count the pairs of queries q0 .. q1 - 1 and keys k0 .. k1 - 1 at this lag and longer ones.

    Key k has q1 - k - lag such queries below q1, or none; the pairs below q0 are taken off again.
    """

    def below(query: np.ndarray, key: np.ndarray) -> np.ndarray:
        most = np.maximum(query - lag, 0)
        keys = np.minimum(key, most)
        return keys * most - keys * (keys - 1) // 2

    return below(q1, k1) - below(q0, k1) - below(q1, k0) + below(q0, k0)


def lay_grid(
    length: int, window: int, region: Region | None = None, cells: int = 512, least: int = 1
) -> Grid:
    """Cut a rectangle into cells; its edges move outwards to those of cells.

    Parameters
    ----------
    length : tokens of the sequence
    window : lags 0 .. window - 1 are visible
    region : first query, last + 1, first key, last + 1; None for the whole sequence
    cells : rows, and columns, at most
    least : positions of a row, and of a column, at least; a power of two

    Raises
    ------
    ConfigError
        If the rectangle is empty or not within the sequence.
    """
    q0, q1, k0, k1 = region or (0, length, 0, length)
    if not (0 <= q0 < q1 <= length and 0 <= k0 < k1 <= length):
        raise ConfigError(
            f"the rectangle must lie within positions 0 to {length}, not empty: got queries {q0} to {q1}, "
            f"keys {k0} to {k1}."
        )
    if cells < 1:
        raise ConfigError(f"a map needs at least one cell a side: got {cells}.")
    query, query_step = _cut(q0, q1, cells, least)
    key, key_step = _cut(k0, k1, cells, least)
    query_stop, key_stop = min(int(query[-1]) + query_step, length), min(int(key[-1]) + key_step, length)
    return Grid(query, key, query_step, key_step, query_stop, key_stop, window)


def fit_region(wanted: Sequence[int], length: int) -> Region:
    """Move a wanted rectangle into the sequence; each side holds at least one position."""
    q0, k0 = (min(first, length - 1) for first in (wanted[0], wanted[2]))
    return q0, min(max(wanted[1], q0 + 1), length), k0, min(max(wanted[3], k0 + 1), length)


def _cut(first: int, stop: int, cells: int, step: int) -> tuple[Int[np.ndarray, " cell"], int]:
    """First positions of the cells, of a step as small as ``cells`` allows."""
    while (stop - 1) // step - first // step + 1 > cells:
        step *= 2
    return np.arange(first // step, (stop - 1) // step + 1) * step, step
