"""From the units of a capture to its one file: pooled, padded, labelled, compressed.

The same code makes the finished file on the disk and, for a capture that still runs, an image of it
in memory. One layer is held at a time. The file is netCDF-4 in HDF5: every dataset has dimension
scales, and each group hard-links its coordinates, so that any HDF5 or netCDF reader shows labels.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from ropediag import schema
from ropediag.errors import CaptureError, FormatError
from ropediag.schema import Variable
from ropediag.store.disk import free_space, sync_folder, temporary_name, writing
from ropediag.store.folder import Folder, read_unit
from ropediag.store.hdf5 import LIBVER, GuardedFile
from ropediag.store.plan import Plan, chunk_shape, make_plan
from ropediag.store.pool import LayerPool
from ropediag.store.seal import seal_of
from ropediag.store.units import DIMENSIONS, LAYER, LOSS, RAW_SUMS, VARIABLES, Part, check_unit

_COMPRESS_FROM = 2**14  # bytes; less is not worth it
_EMPTY_COUNTS = ("scores/count", "scores/replicate_count")


def publish_capture(folder: Folder, attributes: Mapping[str, str | int | float]) -> None:
    """Make the finished file from a complete folder; the folder stays.

    Raises
    ------
    CaptureError
        If the disk has no room for it, with figures; nothing else is left behind then.
    FormatError
        If a unit is damaged.
    """
    plan, final = make_plan(folder), folder.final
    needed, free = 1.1 * plan.size(), free_space(folder.path)
    if free < needed:
        raise CaptureError(
            f"no space left to write {final}: it may need {needed / 2**20:.1f} MiB, {free / 2**20:.1f} MiB "
            f"are free. All that was computed is kept in {folder.path}: make room, then repeat with --resume."
        )
    temporary = temporary_name(folder.path / final.name)
    try:
        with writing(final, plan.size()):
            with GuardedFile(temporary) as target:
                try:
                    consolidate(folder, plan, target, attributes, check=target.check)
                except Exception:
                    target.check()  # what the disk refused explains whatever HDF5 stumbled over
                    raise
                target.append(seal_of(target))
                target.sync()
            os.replace(temporary, final)
            sync_folder(final.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def consolidate(
    folder: Folder,
    plan: Plan,
    target: BinaryIO | GuardedFile,
    attributes: Mapping[str, str | int | float],
    *,
    compress: bool = True,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Write the capture as it stands into ``target``; what is missing is NaN, -1 in integers, 0 in counts.

    Parameters
    ----------
    target : an empty binary file, seekable, for reading and writing
    attributes : root attributes beside those of the header
    compress : gzip and checksums, for a file that stays
    check : called after each layer; may raise
    """
    with h5py.File(target, "w", libver=LIBVER, track_order=True) as file:
        _begin(file, plan, attributes, compress)
        for sequence in sorted(plan.losses):
            arrays = _read(folder.loss(sequence), LOSS, plan, 0)
            for path, array in arrays.items():
                _put(file, plan, path, array, sequence=_place(plan, "sequence", sequence))
        for place, layer in enumerate(plan.coordinates["layer"].tolist()):
            _write_layer(file, folder, plan, place, layer)
            check()


def write_arrays(target: BinaryIO, plan: Plan) -> None:
    """Write a plan whose arrays are all given into ``target``, as for ``consolidate``."""
    with h5py.File(target, "w", libver=LIBVER, track_order=True) as file:
        _begin(file, plan, {}, compress=True)


def replace_group(
    file: h5py.File, group: str, coordinates: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]
) -> None:
    """Replace a group of a finished file, and coordinates that no other group has, by given arrays."""
    for name in (group, *coordinates):
        if name in file:
            del file[name]
    for name, values in coordinates.items():
        _create_scale(file, name, values, {"fletcher32": True} if len(values) else {})
    for path, values in arrays.items():
        _create_variable(file, VARIABLES[path], values.shape, compress=True)
        file[path][...] = values


def _begin(file: h5py.File, plan: Plan, attributes: Mapping[str, str | int | float], compress: bool) -> None:
    """Write attributes, labels and the arrays known from the start."""
    known = {**plan.attributes, **attributes}
    file.attrs["Conventions"] = f"ropediag-{schema.VERSION}"
    file.attrs.update({name: known[name] for name in schema.ATTRIBUTES if name in known})
    _create(file, plan, compress)
    for path, values in plan.given.items():
        file[path][...] = values


def _write_layer(file: h5py.File, folder: Folder, plan: Plan, place: int, layer: int) -> None:
    pool = LayerPool(plan.sizes["sequence"])
    for row, sequence in enumerate(plan.coordinates["sequence"].tolist()):
        if (sequence, layer) not in plan.layers:
            continue
        kept = plan.kept(layer)
        arrays = _read(folder.layer(sequence, layer), LAYER, plan, len(kept))
        if "scores/sum" in arrays:
            pool.add(row, arrays)
        for path in arrays.keys() - RAW_SUMS.keys():
            if "kept" in VARIABLES[path].dims:
                for index, head in enumerate(kept):
                    _put(file, plan, path, arrays[path][index], sequence=row, kept=head)
            else:
                _put(file, plan, path, arrays[path], sequence=row, layer=place)
    if "lag" in plan.coordinates and "coarse_lag" in plan.coordinates:
        for path, array in pool.results(plan.coordinates["lag"], plan.coordinates["coarse_lag"]).items():
            _put(file, plan, path, array, layer=place)


def _read(path: Path, parts: Mapping[str, Part], plan: Plan, kept: int) -> dict[str, np.ndarray]:
    try:
        return check_unit(parts, read_unit(path)[0], plan.sizes, kept)
    except CaptureError as error:
        raise FormatError(f"{path}: {error}") from error


def _place(plan: Plan, axis: str, value: int) -> int:
    return plan.coordinates[axis].tolist().index(value)


def _put(file: h5py.File, plan: Plan, path: str, array: np.ndarray, **at: int) -> None:
    """Write an array where ``at`` says on the outer axes, padded to full size on the others."""
    variable = VARIABLES[path]
    shape = tuple(plan.sizes[dim] for dim in variable.dims if dim not in at)
    if array.shape != shape:
        padded = np.full(shape, _empty(variable), dtype=array.dtype)
        padded[tuple(slice(size) for size in array.shape)] = array
        array = padded
    file[path][tuple(at.get(dim, slice(None)) for dim in variable.dims)] = array


def _create(file: h5py.File, plan: Plan, compress: bool) -> None:
    """Create coordinates and empty datasets with all their labels."""
    for name, values in plan.coordinates.items():
        options = _choose_filters(values.nbytes) if compress and len(values) else {}
        if options:
            options["chunks"] = chunk_shape((name,), values.shape, DIMENSIONS[name].dtype)
        _create_scale(file, name, values, options)
    for variable in plan.variables:
        _create_variable(file, variable, plan.shape(variable), compress)


def _create_scale(file: h5py.File, name: str, values: np.ndarray, options: Mapping[str, Any]) -> None:
    scale = file.create_dataset(name, data=values, **options)
    scale.make_scale(name)
    scale.attrs["units"] = DIMENSIONS[name].units
    scale.attrs["long_name"] = DIMENSIONS[name].long_name


def _create_variable(file: h5py.File, variable: Variable, shape: tuple[int, ...], compress: bool) -> None:
    group = file.get(variable.group) or file.create_group(variable.group, track_order=True)
    dataset = _create_dataset(group, variable, shape, compress)
    for axis, dim in enumerate(variable.dims):
        dataset.dims[axis].attach_scale(file[dim])
        if dim not in group:
            group[dim] = file[dim]  # a hard link: so that a group opened alone is labelled too
    if dataset.dtype.kind == "f":
        dataset.attrs["_FillValue"] = dataset.dtype.type("nan")
    for key in ("units", "long_name", "method"):
        dataset.attrs[key] = getattr(variable, key)


def _create_dataset(
    group: h5py.Group, variable: Variable, shape: tuple[int, ...], compress: bool
) -> h5py.Dataset:
    if variable.dtype == "str":
        return group.create_dataset(variable.name, shape, dtype=h5py.string_dtype())
    options: dict[str, object] = {"dtype": variable.dtype, "fillvalue": _empty(variable)}
    size = int(np.prod(shape)) * np.dtype(variable.dtype).itemsize
    if size:
        options["chunks"] = chunk_shape(variable.dims, shape, variable.dtype)
    if size and compress:
        options |= _choose_filters(size)
    return group.create_dataset(variable.name, shape, **options)


def _choose_filters(size: int) -> dict[str, Any]:
    """Checksums for every array, compression for those of some size, bytes."""
    packed = {"shuffle": True, "compression": "gzip", "compression_opts": 1}
    return {"fletcher32": True} | (packed if size >= _COMPRESS_FROM else {})


def _empty(variable: Variable) -> float | int:
    if variable.path in _EMPTY_COUNTS:
        return 0
    return np.nan if variable.dtype.startswith("f") else -1
