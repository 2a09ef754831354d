"""Opening HDF5 files that may come from a stranger: nothing is read before it is known to be harmless.

A file may hold plain groups and datasets, with the filters every HDF5 library has. Links into other
files, data kept outside the file, virtual datasets and filters that load code are refused. Whatever
is wrong ends in a FormatError that names the file and the place in it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from ropediag import schema
from ropediag.errors import FormatError

NUMERIC = ("schema_version", "seed", "length", "base", "pretrain_base", "train_len", "tune_len", "seconds")
CHUNK_CACHE = 2**20  # bytes that each variable in use keeps unpacked: one chunk; HDF5 2 would keep eight
LARGEST_CHUNK = 2**26  # bytes; ropediag writes up to 2**20
DEFLATED_MOST = 1100  # bytes that gzip can make of one
UNPACKED_FREELY = 2**28  # bytes that an array may declare whatever it stores
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}


def open_file(source: Path | BinaryIO, name: str) -> h5py.File:
    """Open an HDF5 file for reading and check what it is made of.

    Parameters
    ----------
    source : a path, or a whole HDF5 file in memory
    name : what to call it in messages

    Raises
    ------
    FormatError
        If there is no such file, it is not whole HDF5, or holds something that is refused.
    """
    if isinstance(source, Path) and not source.is_file():
        raise FormatError(f"{name}: no such file.")
    try:
        if isinstance(source, Path):
            file = h5py.File(source, "r", locking="best-effort", rdcc_nbytes=CHUNK_CACHE)
        else:
            file = h5py.File(source, "r")
    except PermissionError as error:
        raise FormatError(f"{name} cannot be read: {error.strerror}.") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise FormatError(f"{name} is not a whole HDF5 file: {_first_line(error)}.") from error
    try:
        with reading(name, "its structure"):
            _check_group(file, name)
    except BaseException:
        file.close()
        raise
    return file


@contextmanager
def reading(name: str, place: str) -> Iterator[None]:
    """Turn what h5py raises over damaged bytes into a FormatError naming file and place."""
    try:
        yield
    except FormatError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise FormatError(
            f"{name}: {place} cannot be read: the file is damaged ({_first_line(error)}). "
            "Copy it again from where it came, or capture again."
        ) from error


def read_attributes(file: h5py.File, name: str) -> dict[str, Any]:
    """Read the root attributes that the schema names, as str, int and float.

    Raises
    ------
    FormatError
        If one is of another type, or the schema version is missing or newer than this ropediag.
    """
    attributes: dict[str, Any] = {}
    for key in schema.ATTRIBUTES:
        with reading(name, f"attribute {key!r}"):
            if key in file.attrs:
                attributes[key] = plain(file.attrs[key])
        if key in attributes and not is_attribute(key, attributes[key]):
            raise FormatError(f"{name}: attribute {key!r} has a wrong type: {attributes[key]!r}.")
    version = attributes.get("schema_version")
    if not isinstance(version, int) or version < 1:
        raise FormatError(f"{name} is not a ropediag file: it has no schema_version. Make one with ropediag.")
    if version > schema.VERSION:
        raise FormatError(
            f"{name} has format version {version}; this ropediag reads up to {schema.VERSION}. "
            "Update it: pip install --upgrade ropediag."
        )
    return attributes


def is_attribute(name: str, value: Any) -> bool:
    """Say whether a value is of the type that this root attribute has: a number or text."""
    return isinstance(value, int | float if name in NUMERIC else str) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """Turn NumPy scalars and bytes, as h5py returns attributes, into Python's own."""
    if isinstance(value, np.generic):
        value = value.item()
    return value.decode() if isinstance(value, bytes) else value


def _check_group(group: h5py.Group, name: str, depth: int = 0) -> None:
    for key in group:
        place = f"{group.name.rstrip('/')}/{key}"
        link = group.get(key, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise FormatError(
                f"{name}: {place} is a {type(link).__name__}, which ropediag does not follow: it may lead to "
                "another file. Refused; take the file from a source you trust."
            )
        item = group[key]
        if isinstance(item, h5py.Dataset):
            _check_dataset(item, name, place)
        elif isinstance(item, h5py.Group) and depth == 0:
            _check_group(item, name, depth + 1)
        else:
            raise FormatError(f"{name}: {place} does not belong into a ropediag file.")


def _check_dataset(dataset: h5py.Dataset, name: str, place: str) -> None:
    if dataset.is_virtual or dataset.external:
        raise FormatError(
            f"{name}: the data of {place} lie outside the file; ropediag does not follow. Refused."
        )
    creation = dataset.id.get_create_plist()
    filters = {creation.get_filter(index)[0] for index in range(creation.get_nfilters())}
    if not filters <= _FILTERS:
        raise FormatError(
            f"{name}: {place} is packed with filter {min(filters - _FILTERS)}, which needs foreign code. "
            "Refused; rewrite it with gzip (h5repack -f GZIP=1)."
        )
    dtype = dataset.dtype
    if dataset.shape is None or (h5py.check_string_dtype(dtype) is None and dtype.kind not in "iuf"):
        raise FormatError(f"{name}: {place} must hold numbers or text: got {dtype}.")
    _check_extent(dataset, name, place)


def _check_extent(dataset: h5py.Dataset, name: str, place: str) -> None:
    """Refuse what would take far more memory than the file holds data."""
    width, stored = dataset.dtype.itemsize, dataset.id.get_storage_size()
    if dataset.chunks and math.prod(dataset.chunks) * width > LARGEST_CHUNK:
        raise FormatError(
            f"{name}: {place} is cut into chunks of {dataset.chunks}, far larger than ropediag's. Refused; "
            "rewrite it with smaller ones (h5repack -l)."
        )
    if dataset.size * width > max(UNPACKED_FREELY, DEFLATED_MOST * stored):
        raise FormatError(
            f"{name}: {place} declares {dataset.size * width / 2**30:,.1f} GiB and stores {stored:,} bytes: "
            "no data, but a burden to read. Refused."
        )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
