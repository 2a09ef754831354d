"""What a capture holds, without reading its data: for ``ropediag info``, lists, and the reader's checks.

A finished file is compared with the schema; a partial folder is summed up from its header and the
names of its units.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ropediag.errors import CaptureError, FormatError
from ropediag.store.folder import Folder, find
from ropediag.store.inspect import CheckedFile, open_file, read_attributes, reading
from ropediag.store.plan import make_plan
from ropediag.store.units import DIMENSIONS, VARIABLES, check_coordinate

_CRITICAL = "rope/critical_pair"
_WITHIN = (
    "lag",
    "coarse_lag",
    "position",
    "position_bin",
    "norm_bin",
    "sample",
    "query_block",
    "key_block",
)
_LENGTHS = {
    "length": 1,
    "train_len": 0,
    "tune_len": 0,
    "window_len": 0,
}  # attributes in tokens, and the least of each


@dataclass(frozen=True)
class Summary:
    """What is known of a capture at a glance.

    Attributes
    ----------
    path : the file or folder it is in
    attributes : root attributes, ``status`` among them
    sizes : axis name -> length
    variables : paths of the variables it holds, in the schema's order
    critical_pair : by layer, first pair whose pretraining period exceeds the training length; empty
        where not recorded
    missing_layers, missing_losses : (sequence, layer) units and sequences that are still to come
    size : bytes on the disk
    """

    path: Path
    attributes: dict[str, Any]
    sizes: dict[str, int]
    variables: tuple[str, ...]
    critical_pair: tuple[int, ...]
    missing_layers: tuple[tuple[int, int], ...]
    missing_losses: tuple[int, ...]
    size: int


def summarize(path: Path | str) -> Summary:
    """Sum up a capture, finished or not, in milliseconds.

    Raises
    ------
    FormatError
        If there is no capture, or it is not one of a known format version, or damaged.
    """
    place = find(path)
    if isinstance(place, Folder):
        plan = make_plan(place, sealed=False)
        attributes = check_numbers(plan.attributes, str(place.header))
        return Summary(
            path=place.path,
            attributes={**attributes, "status": "partial"},
            sizes={dim: len(values) for dim, values in plan.coordinates.items()},
            variables=tuple(variable.path for variable in plan.variables),
            critical_pair=tuple(plan.given.get(_CRITICAL, np.zeros(0, dtype=int)).tolist()),
            missing_layers=plan.missing_layers,
            missing_losses=plan.missing_losses,
            size=place.size(),
        )
    with open_file(place, str(place)) as file:
        attributes = check_numbers(read_attributes(file, str(place)), str(place))
        sizes, variables = check_contents(file, str(place))
        with reading(str(place), _CRITICAL):
            critical = file[_CRITICAL][...].tolist() if _CRITICAL in variables else []
    return Summary(place, attributes, sizes, variables, tuple(critical), (), (), place.stat().st_size)


def check_contents(file: CheckedFile, name: str) -> tuple[dict[str, int], tuple[str, ...]]:
    """Compare a file with the schema.

    Returns
    -------
    axis name -> length, and the paths of the schema's variables that the file holds

    Raises
    ------
    FormatError
        If a coordinate or variable is not of the schema's shape or kind, or a coordinate repeats or falls.
    """
    sizes = {}
    for dim, dimension in DIMENSIONS.items():
        if dim not in file.stored:
            continue
        shape = _checked_shape(file, dim, dimension.dtype, name)
        if len(shape) != 1:
            raise FormatError(f"{name}: the coordinate {dim} must be a list: got {shape}.")
        sizes[dim] = shape[0]
        with reading(name, dim):
            values = file[dim][...]
        _check_labels(dim, values, name)
    held = tuple(path for path in VARIABLES if path in file.stored)
    for path in held:
        shape = _checked_shape(file, path, VARIABLES[path].dtype, name)
        expected = tuple(sizes.get(dim, -1) for dim in VARIABLES[path].dims)
        if shape != expected:
            raise FormatError(
                f"{name}: {path} must have the shape {expected} ({', '.join(VARIABLES[path].dims)}; -1: no "
                f"such coordinate): got {shape}."
            )
    return sizes, held


def check_numbers(attributes: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Check the root attributes that are numbers; all but the length of a capture may be missing.

    Returns
    -------
    the same attributes

    Raises
    ------
    FormatError
        If a length is no whole number or too small, or a number is neither finite nor one that may be NaN.
    """
    for key, least in _LENGTHS.items():
        value = attributes.get(key)
        if value is None and (key != "length" or attributes.get("kind", "capture") != "capture"):
            continue
        if value is None or not math.isfinite(value) or value != int(value) or value < least:
            raise FormatError(
                f"{name}: attribute {key!r} must be a whole number of tokens from {least} on: got {value!r}."
            )
    for key in ("base", "pretrain_base"):
        value = attributes.get(key, math.nan)
        if not (math.isnan(value) or 0 < value < math.inf):
            raise FormatError(
                f"{name}: attribute {key!r} must be above 0, or NaN where it is not known: got {value!r}."
            )
    return dict(attributes)


def check_values(file: CheckedFile, attributes: Mapping[str, Any], name: str) -> None:
    """Check the numbers by which other numbers are found: bins, positions, frequencies, kept heads.

    Raises
    ------
    FormatError
        If a bin or position lies outside the capture, a frequency is below 0, or a kept head is not captured.
    """
    with reading(name, "its coordinates"):
        if attributes.get("kind", "capture") == "capture":
            _check_within(file, attributes["length"], name)
        if "rope/inv_freq" in file.stored:
            turned = file["rope/inv_freq"][...]
            if not (np.isnan(turned) | ((turned >= 0) & (turned < math.inf))).all():
                raise FormatError(
                    f"{name}: rope/inv_freq must be at least 0, or NaN where a layer has no such pair: got "
                    f"{np.nanmin(turned):g} to {np.nanmax(turned):g} rad/token."
                )
        for path, axis in (("samples/kept_layer", "layer"), ("samples/kept_head", "query_head")):
            known = {path, axis} <= file.stored.keys()
            if known and not np.isin(file[path][...], file[axis][...]).all():
                raise FormatError(
                    f"{name}: {path} names a {axis.replace('query_', '')} that the capture does not have."
                )


def _check_within(file: CheckedFile, length: int, name: str) -> None:
    for dim in _WITHIN:
        values = file[dim][...] if dim in file.stored else np.zeros(0)
        if len(values) and not (values.min() >= 0 and values.max() < length):
            raise FormatError(
                f"{name}: the coordinate {dim} must lie from 0 to {length - 1:,}, the capture's length: got "
                f"{values.min():,} to {values.max():,}."
            )
    if "position" in file.stored and file.stored["position"].shape != (length,):
        raise FormatError(
            f"{name}: the coordinate position must name each of the {length:,} tokens: got "
            f"{file.stored['position'].shape[0]:,}."
        )


def _check_labels(dim: str, values: np.ndarray, name: str) -> None:
    try:
        check_coordinate(dim, values)
    except CaptureError as error:
        raise FormatError(f"{name}: {error}") from error


def _checked_shape(file: CheckedFile, path: str, dtype: str, name: str) -> tuple[int, ...]:
    stored = file.stored[path]
    if stored.kind != (dtype if dtype == "str" else dtype[0]):
        raise FormatError(f"{name}: {path} must be of type {dtype}: got {file[path].dtype}.")
    return stored.shape
