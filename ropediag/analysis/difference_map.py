"""Difference map: one variable of a diagnostic, one capture minus another, laid out for a picture.

Where a variable has more than a screen holds, the map is that of one layer, or of one head, and no more is
subtracted.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ropediag.analysis.compare import subtract
from ropediag.analysis.ranking import Ranking, rank_differences
from ropediag.errors import ConfigError

CELLS = 70_000  # in a map: 32 layers x 32 heads x 64 pairs, and what 500 kB of data hold
SHOWN = 0.995  # of the cells lie within the range of the colours
HEAD = ("layer", "query_head")
OUTER = (*HEAD, "kv_head", "side")  # axes that a map lays out one after the other
LISTED = 5  # of the largest differences


def choose_part(both: tuple[xr.Dataset, xr.Dataset], variable: str, at: Mapping[str, int]) -> dict[str, int]:
    """Say which layer, or which head, a map of a variable is of; empty where it is of all.

    One head where two axes remain beside it, since a map has two; one layer where all are too many cells.

    Parameters
    ----------
    both : from ``ropediag.analysis.compare``, of the same labels
    at : the layer and query head that are selected

    Raises
    ------
    ConfigError
        If they have no such variable, or the selected layer or head is not in both.
    """
    if variable not in both[0]:
        raise ConfigError(f"there is no {variable!r}: choose from {', '.join(map(str, both[0]))}.")
    array = both[0][variable]
    inner = [dim for dim in array.dims if dim not in OUTER]
    chosen: dict[str, int] = {}
    for dim in (dim for dim in HEAD if dim in array.dims):
        cells = np.prod([size for other, size in array.sizes.items() if other not in chosen])
        if len(inner) > 1 or cells > CELLS:
            held = array[dim].values.tolist()
            if at[dim] not in held:
                raise ConfigError(f"{dim} {at[dim]} is not in both captures: they share {held}.")
            chosen[dim] = at[dim]
    return chosen


def map_difference(
    both: tuple[xr.Dataset, xr.Dataset], variable: str | None = None, at: Mapping[str, int] | None = None
) -> xr.Dataset:
    """Subtract one variable, second minus first, and choose the range of its colours.

    Parameters
    ----------
    both : from ``ropediag.analysis.compare``, of the same labels
    variable : the one the diagnostic shows if None
    at : the layer and query head that are selected; the first that both have if None

    Returns
    -------
    xr.Dataset
        ``difference``, with all axes of the variable that remain. Attributes: those of the diagnostic,
        ``first_*`` and ``second_*`` of the captures; ``variable``; ``reach``, up to which colours should go:
        the quantile of the absolute values at ``SHOWN``; ``cells``, ``clipped``: how many are known, and how
        many of them lie beyond the reach; ``part``: what it is of, in words, empty where of all.
    """
    first, second = both
    name = variable or str(second.attrs["shows"])
    part = choose_part(both, name, at or _first_head(first))
    found = subtract(first[[name]].sel(part), second[[name]].sel(part))
    difference = found[name].astype(np.float32)
    size = np.abs(difference.values[np.isfinite(difference.values)])
    reach = float(np.quantile(size, SHOWN)) if size.size else 0.0
    reach = reach or float(size.max(initial=0.0))  # where nearly nothing differs
    facts = {
        "variable": name,
        "reach": reach,
        "cells": int(size.size),
        "clipped": int((size > reach).sum()),
        "part": ", ".join(f"{dim.removeprefix('query_')} {value}" for dim, value in part.items()),
    }
    difference = difference.drop_vars(tuple(part)).assign_attrs(found[name].attrs)
    return xr.Dataset({"difference": difference}, attrs=found.attrs | facts)


def rank_part(
    both: tuple[xr.Dataset, xr.Dataset], variable: str | None = None, at: Mapping[str, int] | None = None
) -> Ranking:
    """List the largest differences of what ``map_difference`` shows, and count those that stand."""
    name = variable or str(both[1].attrs["shows"])
    part = choose_part(both, name, at or _first_head(both[0]))
    wanted = [each for each in (name, f"{name}_se") if each in both[0]]
    first, second = (found[wanted].sel(part).drop_vars(tuple(part)) for found in both)
    return rank_differences(first, second, LISTED, name)


def _first_head(found: xr.Dataset) -> dict[str, int]:
    return {dim: int(found[dim][0]) for dim in HEAD if dim in found.dims}
