"""Layers that hold nothing: a statistic that was measured is a number, so a layer full of NaN is an error.

NaN marks what a layer does not have (``schema``). Where it has the axis, its first value is there: of the
first head, pair, bin, row. So one value a layer tells nearly always that there is something, and only
where it is NaN the layer is read through. Nothing measured is infinite either.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ropediag.errors import FormatError
from ropediag.store.units import VARIABLES

if TYPE_CHECKING:
    from ropediag.store.reader import Capture

# NaN throughout where a layer has no cap, one replicate, no other channels, no rotation to split at
_MAY_BE_EMPTY = {
    "rope/inv_freq",
    "rope/logit_softcap",
    "scores/mean_se",
    "scores/rest_mean",
    "samples/kept_maximum",
    "partial/before_mean",
    "partial/before_std",
    "partial/past_mean",
    "partial/past_std",
    "loss/nll",
    "loss/nll_windowed",
}
_MEASURED = {
    path
    for path, variable in VARIABLES.items()
    if variable.dtype.startswith("f") and variable.method != "given" and path not in _MAY_BE_EMPTY
}


def find_fault(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Say what is wrong with the arrays of one unit: the first that is full of NaN, or has an infinity."""
    for path, array in arrays.items():
        if array.dtype.kind != "f" or not array.size:
            continue
        if np.isinf(array).any():
            return f"{path} holds an infinite number"
        if (path in _MEASURED or path not in VARIABLES) and np.isnan(array).all():
            return f"{path} holds nothing but NaN"
    return None


def check_filled(path: str, array: np.ndarray, capture: "Capture") -> np.ndarray:
    """Give the whole of a variable back if every layer that was measured has numbers in it.

    Raises
    ------
    FormatError
        Naming the layer, and the sequence, that holds nothing but NaN.
    """
    dims = VARIABLES[path].dims if path in _MEASURED else ()
    axes = [axis for axis, dim in enumerate(dims) if dim in ("sequence", "layer")]
    if "layer" not in dims or not array.size:
        return array
    moved = np.moveaxis(array, axes, range(len(axes)))
    for place in np.ndindex(moved.shape[: len(axes)]):
        inner = moved[place]
        if math.isnan(inner[(0,) * inner.ndim]) and np.isnan(inner).all():
            names = [dims[axis] for axis in axes]
            at = {name: int(capture.values(name)[step]) for name, step in zip(names, place, strict=True)}
            if not _may_lack(dims, at, capture):
                where = " of ".join(f"{name} {at[name]}" for name in reversed(names))
                raise FormatError(
                    f"{capture.path}: {path} holds nothing but NaN in {where}, which counts as measured. "
                    "Copy the file again from where it came, or capture again."
                )
    return array


def _may_lack(dims: tuple[str, ...], at: Mapping[str, int], capture: "Capture") -> bool:
    """Whether a unit is still to come, or its layer has no rotary pair to measure."""
    missing = capture.missing_layers
    if any(layer == at["layer"] and at.get("sequence", sequence) == sequence for sequence, layer in missing):
        return True
    if "pair" not in dims or "rope/inv_freq" not in capture.variables:
        return False
    return bool(np.isnan(capture.values("rope/inv_freq", layer=at["layer"])).all())
