"""Extremes: where an array is largest and smallest, in words."""

import numpy as np
import xarray as xr

NAMES = {"query_head": "head", "kv_head": "key head"}


def describe_extremes(array: xr.DataArray) -> str:
    """Say the largest and the smallest value and where they stand.

    Parameters
    ----------
    array : of numbers, with ``units``; NaN is left out

    Returns
    -------
    such as ``Largest: 5.27 in-range std at layer 1, pair 14; smallest: 0 at layer 0, pair 2.``
    """
    values = array.values.astype(float)
    known = np.isfinite(values)
    if not known.any():
        return "Nothing is known of it here."
    unit = array.attrs.get("units", "1")
    named = "" if unit == "1" else f" {unit}"
    low, high = (np.where(known, values, filled).ravel() for filled in (np.inf, -np.inf))
    if not array.ndim:
        return f"It is {high[0]:,.4g}{named}."
    largest = f"Largest: {high.max():,.4g}{named} at {_name_place(array, int(high.argmax()))}"
    if high.max() == low.min():
        return f"It is {high.max():,.4g}{named} everywhere."
    return f"{largest}; smallest: {low.min():,.4g} at {_name_place(array, int(low.argmin()))}."


def _name_place(array: xr.DataArray, place: int) -> str:
    steps = zip(array.dims, np.unravel_index(place, array.shape), strict=True)
    return ", ".join(
        f"{NAMES.get(str(dim), str(dim).replace('_', ' '))} {_label(array[dim].values[step])}"
        for dim, step in steps
    )


def _label(value: object) -> str:
    return str(value) if isinstance(value, str | np.str_) else f"{value:,.6g}"
