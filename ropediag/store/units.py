"""What each file of a running capture may hold, and in which shape: the schema cut into units.

A capture is written in units that a kill cannot take back: one *header* (all that is known at the
start), one *layer* unit per (sequence, layer), one *loss* unit per sequence. A layer unit holds the
schema's per-sequence variables of that layer without their (sequence, layer) axes, and the raw sums
behind the pooled ones. Nothing here touches a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ropediag import schema
from ropediag.errors import CaptureError

VARIABLES = {variable.path: variable for variable in schema.VARIABLES}
DIMENSIONS = {dimension.name: dimension for dimension in schema.DIMENSIONS}
GROUPS = tuple(dict.fromkeys(variable.group for variable in schema.VARIABLES))

# Axes along which one layer may have less than another: its arrays are shorter, the file is padded.
RAGGED = frozenset({"query_head", "kv_head", "pair", "channel"})
IMPLIED = {"side": 2, "group": schema.REPLICATES}  # axes whose size the format fixes
_INCREASING = ("lag", "coarse_lag", "position", "position_bin", "norm_bin", "length", "depth")


@dataclass(frozen=True)
class Part:
    """The axes and the dtype of one array inside a unit."""

    dims: tuple[str, ...]
    dtype: str


RAW_SUMS = {
    "scores/sum": Part(("query_head", "group", "pair", "lag"), "f8"),
    "scores/sum_square": Part(("query_head", "pair", "lag"), "f8"),
    "scores/pair_count": Part(("group", "lag"), "i8"),
    "scores/rest_sum": Part(("query_head", "lag"), "f8"),
}


def _cut_schema() -> tuple[dict[str, Part], dict[str, Part], dict[str, Part]]:
    header, layer, loss = {}, dict(RAW_SUMS), {}
    for path, variable in VARIABLES.items():
        inner = Part(tuple(dim for dim in variable.dims if dim not in ("sequence", "layer")), variable.dtype)
        if variable.pooled:
            continue
        if variable.group == "loss":
            loss[path] = inner
        elif "sequence" in variable.dims and {"layer", "kept"} & set(variable.dims):
            layer[path] = inner
        else:
            header[path] = Part(variable.dims, variable.dtype)
    return header, layer, loss


HEADER, LAYER, LOSS = _cut_schema()


def check_header(header: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Check names, shapes and coordinates of a header and bring its arrays to the schema's dtypes.

    Raises
    ------
    CaptureError
        If a name is not in the schema or belongs to a later unit, a coordinate is missing or not
        usable as one, or a shape does not fit the coordinates.
    """
    checked = {}
    for name in header:
        if name in DIMENSIONS and name not in IMPLIED and name != "replicate":
            checked[name] = check_coordinate(name, np.asarray(header[name]))
        elif name not in HEADER:
            raise CaptureError(f"the header of a capture cannot hold {name!r}: {_place(name)}.")
    for name in ("sequence", "layer"):
        if name not in checked or not len(checked[name]):
            raise CaptureError(
                f"the header of a capture needs a coordinate {name!r} with at least one value."
            )
    _check_lags(checked)
    sizes = axis_sizes(checked)
    for path in header:
        if path in HEADER:
            checked[path] = fit(path, HEADER[path], header[path], sizes, frozenset())
    return checked


def check_unit(
    parts: Mapping[str, Part], arrays: Mapping[str, np.ndarray], sizes: Mapping[str, int], kept: int = 0
) -> dict[str, np.ndarray]:
    """Check the arrays of one layer or loss unit and bring them to the schema's dtypes.

    Parameters
    ----------
    parts : ``LAYER`` or ``LOSS``
    arrays : path -> array, shaped as ``parts`` says; shorter along ``RAGGED`` axes where the layer is
    sizes : axis name -> length, from ``axis_sizes``
    kept : how many heads of this layer were kept at every position

    Raises
    ------
    CaptureError
        Naming the array, if the format does not know it, it does not fit, or raw sums are incomplete.
    """
    if not arrays:
        raise CaptureError("a unit of a capture needs at least one array: got none.")
    sums = [path for path in ("scores/sum", "scores/sum_square", "scores/pair_count") if path in arrays]
    if 0 < len(sums) < 3 or ("scores/rest_sum" in arrays and not sums):
        raise CaptureError(
            f"scores need sum, sum_square and pair_count together: got {', '.join(sums)} only."
        )
    if sums and "coarse_lag" not in sizes:
        raise CaptureError("scores need the coordinate 'coarse_lag', which the header does not have.")
    checked = {}
    for path, array in arrays.items():
        if path not in parts:
            raise CaptureError(f"this unit of a capture cannot hold {path!r}: {_place(path)}.")
        checked[path] = fit(path, parts[path], array, {**sizes, "kept": kept}, RAGGED)
    return checked


def whole_part(path: str) -> Part:
    """Give all axes of a variable, and its dtype: its place in a file written at once."""
    return Part(VARIABLES[path].dims, VARIABLES[path].dtype)


def axis_sizes(header: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Give the length of every axis: that of its coordinate, or what the format fixes."""
    return {**{name: len(header[name]) for name in header if name in DIMENSIONS}, **IMPLIED}


def fit(
    path: str, part: Part, array: np.ndarray, sizes: Mapping[str, int], ragged: frozenset[str]
) -> np.ndarray:
    """Return the array in the dtype of its part, or raise CaptureError if shape or kind is wrong."""
    array = np.asarray(array)
    unknown = [dim for dim in part.dims if dim not in sizes]
    if unknown:
        raise CaptureError(f"{path} needs the coordinate {unknown[0]!r}, which the header does not have.")
    expected = tuple(sizes[dim] for dim in part.dims)
    fits = array.ndim == len(expected) and all(
        size == full or (dim in ragged and size < full)
        for dim, size, full in zip(part.dims, array.shape, expected, strict=True)
    )
    if not fits:
        raise CaptureError(
            f"{path} must have the shape {expected} ({', '.join(part.dims)}): got {array.shape}."
        )
    if part.dtype == "str":
        return array.astype(object)
    exact = path in RAW_SUMS and array.dtype != np.dtype(part.dtype)
    if exact or not np.can_cast(array.dtype, part.dtype, "same_kind"):
        raise CaptureError(f"{path} must be of dtype {np.dtype(part.dtype)}: got {array.dtype}.")
    return np.ascontiguousarray(array, dtype=part.dtype)


def check_coordinate(name: str, values: np.ndarray) -> np.ndarray:
    """Bring a coordinate to its dtype, or raise CaptureError if it cannot be one."""
    dtype = DIMENSIONS[name].dtype
    if values.ndim != 1 or not (np.can_cast(values.dtype, dtype, "same_kind") or not len(values)):
        raise CaptureError(
            f"the coordinate {name!r} must be a list of {np.dtype(dtype)}: got {values.dtype}, "
            f"shape {values.shape}."
        )
    values = values.astype(dtype)
    rises = bool(np.all(np.diff(values) > 0))  # as nearly all do, so that few have to be sorted
    if not rises and (name in _INCREASING or len(np.unique(values)) < len(values)):
        raise CaptureError(f"the coordinate {name!r} must not repeat or fall: got {values[:8].tolist()} ...")
    return values


def _check_lags(coordinates: Mapping[str, np.ndarray]) -> None:
    if "coarse_lag" not in coordinates:
        return
    lag, coarse = coordinates.get("lag", np.zeros(0)), coordinates["coarse_lag"]
    if not (len(lag) and len(coarse) and coarse[0] == lag[0] and np.isin(coarse, lag).all()):
        raise CaptureError(
            "every edge of coarse_lag must be an edge of lag, from the first on: take both from "
            f"schema.lag_edges. Got coarse_lag {coarse[:8].tolist()}, lag {lag[:8].tolist()}."
        )


def _place(name: str) -> str:
    if name in HEADER or name in DIMENSIONS:
        return "it is known at the start, so it belongs into the header"
    if name in LAYER:
        return "it belongs to one layer, so write it with write_layer"
    if name in LOSS:
        return "it belongs to one sequence, so write it with write_loss"
    if name in VARIABLES:
        return "it is pooled over sequences by the store, from raw sums"
    return "the schema has no such variable (add it to ropediag/schema.py first)"
