"""The attention map: the logit of any rectangle of queries x keys of a kept head, in a given number of cells.

The value of a cell is the mean or the largest logit over the pairs in which the query sees the key, NaN
where there are none; cells of one pair are that logit itself. Means are exact sums (``cell_sums``). A
maximum has no such form: cells at least as large as the blocks whose maxima the capture stored come from
these; smaller ones, and those of chosen pairs, are multiplied out.
"""

from collections.abc import Callable

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from ropediag.analysis.cell_sums import sum_cells
from ropediag.analysis.kept_head import KeptHead, choose_channels
from ropediag.analysis.map_grid import Grid, Region, lay_grid
from ropediag.errors import ConfigError

STATISTICS = {"mean": "mean logit", "maximum": "largest logit"}
DIRECT = 2**24  # query-key pairs that are multiplied out while a reader waits
TILE = 512  # queries, and keys, at a time, at least a cell

Progress = Callable[[float], bool]
Channels = Int[np.ndarray, " channel"] | slice


class Stopped(Exception):
    """The map was no longer wanted: ``progress`` said so."""


def map_scores(
    head: KeptHead,
    region: Region | None = None,
    cells: int = 512,
    *,
    what: str = "total",
    statistic: str = "mean",
    progress: Progress | None = None,
) -> xr.Dataset:
    """Compute the map of a rectangle.

    Parameters
    ----------
    head : from ``load_kept_head``
    region : first query, last + 1, first key, last + 1; None for the whole sequence; its edges move
        outwards to those of cells
    cells : rows, and columns, at most
    what : which pairs, as for ``choose_channels``
    statistic : ``mean`` or ``maximum``
    progress : told the share that is done, now and then; if it returns False, the map is given up

    Returns
    -------
    xr.Dataset
        ``logit`` (query, key) float32, before any soft cap. Coordinates are first positions; their attribute
        ``step`` says how many a cell holds. Maxima of the whole logit over too large a rectangle come in the
        cells in which they are stored, fewer than ``cells``.

    Raises
    ------
    ConfigError
        If there is no such rectangle, statistic or pair.
    Stopped
        If ``progress`` returned False.
    """
    if statistic not in STATISTICS:
        raise ConfigError(f"the statistic must be one of {', '.join(STATISTICS)}: got {statistic!r}.")
    channels = choose_channels(head, what)
    grid = lay_grid(head.length, head.window, region, cells)
    if statistic == "mean":
        values = _average_cells(head, grid, channels)
    elif channels is not None or (grid.least_step < head.block and grid.pairs <= DIRECT):
        chosen = slice(None) if channels is None else channels
        values = _multiply_out(head, grid, chosen, progress or (lambda share: True))
    else:
        grid = lay_grid(head.length, head.window, region, cells, least=head.block)
        values = _merge(head.maxima, grid, head.block, np.fmax)
    return _label_map(head, grid, values, what, statistic)


def is_quick(
    head: KeptHead, what: str, statistic: str, region: Region | None = None, cells: int = 512
) -> bool:
    """Say whether ``map_scores`` answers at once, or had better run in the background."""
    grid = lay_grid(head.length, head.window, region, cells)
    if what == "total":
        return True
    if statistic == "maximum":
        return grid.pairs <= DIRECT
    return int(grid.tell_cells()[1].sum()) * grid.query_step * grid.key_step <= DIRECT


def _label_map(head: KeptHead, grid: Grid, values: np.ndarray, what: str, statistic: str) -> xr.Dataset:
    sides = {"query": (grid.query, grid.query_step), "key": (grid.key, grid.key_step)}
    coordinates = {
        side: xr.Variable(
            (side,), first, {"units": "tokens", "long_name": f"position of the {side}", "step": step}
        )
        for side, (first, step) in sides.items()
    }
    meaning = STATISTICS[statistic] + ("" if what == "total" else f" of pairs {what}")
    logit = xr.Variable(("query", "key"), values, {"units": "logit", "long_name": meaning})
    place = {"layer": head.layer, "query_head": head.query_head, "sequence": head.sequence}
    ends = {"query_stop": grid.query_stop, "key_stop": grid.key_stop, "length": head.length}
    return xr.Dataset({"logit": logit}, coordinates, {**place, **ends, "what": what, "statistic": statistic})


def _average_cells(
    head: KeptHead, grid: Grid, channels: Int[np.ndarray, " channel"] | None
) -> Float[np.ndarray, "row column"]:
    """Mean logits of the cells."""
    if channels is not None:
        total = sum_cells(head.query, head.key, grid, channels)
    elif grid.least_step >= head.block:
        total = _merge(head.sums, grid, head.block, np.add)
    else:
        total = sum_cells(head.query, head.key, grid)
    count = grid.count_visible()
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _merge(
    stored: Float[np.ndarray, "query_block key_block"], grid: Grid, block: int, how: np.ufunc
) -> Float[np.ndarray, "row column"]:
    """Merge stored blocks into cells that are made of whole ones."""
    q, k = int(grid.query[0]), int(grid.key[0])
    rows = slice(q // block, -(-grid.query_stop // block))
    columns = slice(k // block, -(-grid.key_stop // block))
    merged = how.reduceat(stored[rows, columns], (grid.query - q) // block, axis=0)
    return how.reduceat(merged, (grid.key - k) // block, axis=1)


def _multiply_out(
    head: KeptHead, grid: Grid, channels: Channels, progress: Progress
) -> Float[np.ndarray, "row column"]:
    """Maxima of cells, every visible pair visited, a tile at a time."""
    found = np.full((len(grid.query), len(grid.key)), np.nan, dtype=np.float32)
    key = np.ascontiguousarray(head.key[grid.key[0] : grid.key_stop, channels])
    rows, columns = max(1, TILE // grid.query_step), max(1, TILE // grid.key_step)
    for top in range(0, len(grid.query), rows):
        first, stop = int(grid.query[top]), int(grid.query_ends[top : top + rows][-1])
        queries = np.ascontiguousarray(head.query[first:stop, channels])
        for left in range(0, len(grid.key), columns):
            start, end = int(grid.key[left]), int(grid.key_ends[left : left + columns][-1])
            if start >= stop or first - (end - 1) >= grid.window:
                continue
            logits = queries @ key[start - grid.key[0] : end - grid.key[0]].T
            if first < end - 1 or stop - 1 - start >= grid.window:
                lag = np.arange(first, stop)[:, None] - np.arange(start, end)
                logits[(lag < 0) | (lag >= grid.window)] = np.nan
            maxima = np.fmax.reduceat(logits, np.arange(0, stop - first, grid.query_step), axis=0)
            maxima = np.fmax.reduceat(maxima, np.arange(0, end - start, grid.key_step), axis=1)
            found[top : top + len(maxima), left : left + maxima.shape[1]] = maxima
        if not progress(min(1.0, (top + rows) / len(grid.query))):
            raise Stopped
    return found
