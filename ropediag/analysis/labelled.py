"""Labelled results: units and meanings on arrays, the format's axes, and means over replicates."""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from ropediag.schema import DIMENSIONS, REPLICATES

_AXES = {dimension.name: dimension for dimension in DIMENSIONS}


def label(table: dict[str, tuple[xr.DataArray, str, str]]) -> xr.Dataset:
    """Make a Dataset of arrays: name -> (array, units, long_name)."""
    return xr.Dataset(
        {
            name: values.drop_attrs(deep=False).assign_attrs(units=units, long_name=meaning)
            for name, (values, units, meaning) in table.items()
        }
    )


def make_axis(name: str, values: Float[np.ndarray, " _"] | Int[np.ndarray, " _"]) -> xr.Variable:
    """Make the coordinate of an axis that the file format knows, with its unit and its meaning."""
    known = _AXES[name]
    return xr.Variable((name,), values, {"units": known.units, "long_name": known.long_name})


def make_geometry_axes(layers: int, pairs: int) -> dict[str, xr.Variable]:
    """Make the axes (layer, pair) of a ``RopeSpec``, both counted from 0."""
    return {"layer": make_axis("layer", np.arange(layers)), "pair": make_axis("pair", np.arange(pairs))}


def average(values: xr.DataArray, over: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Take the mean over an axis of independent replicates, and its standard error.

    Returns
    -------
    mean, error : without the axis; NaN entries are left out, the error needs two that are not
    """
    count = values.notnull().sum(over)
    mean = values.sum(over) / count.where(count > 0)
    square = ((values - mean) ** 2).sum(over)
    return mean, (square / (count * (count - 1)).where(count > 1)) ** 0.5


def average_groups(
    total: xr.DataArray, square: xr.DataArray, count: xr.DataArray
) -> tuple[xr.DataArray, xr.DataArray]:
    """Take the mean over all members of groups of unequal size, and its standard error.

    Groups are sequences. From ``REPLICATES`` of them on the error is that between groups, of a ratio of sums
    (as in the capture file); with fewer it is that between members, taken as independent.

    Parameters
    ----------
    total, square, count : with an axis ``sequence``; sums, sums of squares and numbers of the members

    Returns
    -------
    mean, error : without ``sequence``; the error is NaN where fewer than two have members
    """
    members = count.sum("sequence")
    mean = total.sum("sequence") / members.where(members > 0)
    if total.sizes["sequence"] >= REPLICATES:
        groups = (count > 0).sum("sequence")
        residual = (((total - count * mean) / members.where(members > 0)) ** 2).sum("sequence")
        return mean, (residual * groups / (groups - 1).where(groups > 1)) ** 0.5
    spread = (square.sum("sequence") - members * mean**2).clip(min=0.0)
    return mean, (spread / (members * (members - 1)).where(members > 1)) ** 0.5
