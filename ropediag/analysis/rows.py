"""Sampled queries: their statistics averaged over groups of queries, with the error of the mean."""

import numpy as np
import xarray as xr
from jaxtyping import Int

from ropediag.analysis.labelled import average_groups
from ropediag.schema import lag_edges

PER_DOUBLING = 2  # bins of query positions


def bin_queries(positions: Int[np.ndarray, "sequence row"], length: int) -> xr.DataArray:
    """Say which bin each sampled query belongs to, bins of its position, 2 per doubling.

    Returns
    -------
    (sequence, row, query_position) array of 0 and 1; a bin is named by its lower edge
    """
    edges = np.array(lag_edges(length, PER_DOUBLING))
    place = np.searchsorted(edges, positions, side="right") - 1
    label = {"units": "tokens", "long_name": "lower edge of the bin of query positions, 2 per doubling"}
    return xr.DataArray(
        (place[..., None] == np.arange(len(edges))).astype(float),
        {"query_position": ("query_position", edges, label)},
        dims=("sequence", "row", "query_position"),
    )


def split_queries(position: xr.DataArray, trained: int) -> xr.DataArray:
    """Say which sampled queries lie within the trained length and which past it.

    Parameters
    ----------
    position : (sequence, row) of the queries, tokens
    trained : tokens

    Returns
    -------
    (side, sequence, row) array of 0 and 1; side 0 is within, side 1 past
    """
    past = (position.drop_vars(("sequence", "row"), errors="ignore") >= trained).astype(float)
    return xr.concat([1 - past, past], "side")


def average_rows(values: xr.DataArray, member: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Average over sampled queries of all sequences, and estimate the error of the mean.

    Parameters
    ----------
    values : with axes ``sequence`` and ``row``; NaN is left out
    member : (sequence, row, ...) array of 0 and 1: which queries belong to which group

    Returns
    -------
    mean, error : the other axes of ``values``, then those of ``member``; see ``average_groups``
    """
    values = values.drop_vars(("sequence", "row"), errors="ignore")
    known = values.notnull().astype(float)
    present = values.fillna(0.0)
    sums = (xr.dot(part, member, dim="row") for part in (present, present**2, known))
    return average_groups(*sums)
