"""Opening HDF5 files that may come from a stranger: nothing is read before it is known to be harmless.

A file may hold plain groups and datasets, with the filters every HDF5 library has. Links into other
files, data kept outside the file, virtual datasets and filters that load code are refused. Whatever
is wrong ends in a FormatError that names the file and the place in it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from ropediag import schema
from ropediag.errors import FormatError

NUMERIC = (
    "schema_version",
    "seed",
    "length",
    "base",
    "pretrain_base",
    "train_len",
    "tune_len",
    "window_len",
    "seconds",
)
CHUNK_CACHE = 2**20  # bytes that each variable in use keeps unpacked: one chunk; HDF5 2 would keep eight
LARGEST_CHUNK = 2**26  # bytes; ropediag writes up to 2**20
UNPACKED_MOST = 100  # bytes that a large array may become for each that it stores; measured ones, up to 23
UNPACKED_FREELY = 2**28  # bytes that an array may declare whatever it stores
_KINDS = {h5py.h5t.INTEGER: "i", h5py.h5t.FLOAT: "f", h5py.h5t.STRING: "str"}
_LINKS = {h5py.h5l.TYPE_SOFT: "a soft", h5py.h5l.TYPE_EXTERNAL: "an external"}
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}


@dataclass(frozen=True)
class Stored:
    """What is known of a dataset without reading it.

    Attributes
    ----------
    shape : as it is declared
    kind : ``i``, ``f`` or ``str``
    """

    shape: tuple[int, ...]
    kind: str


class CheckedFile(h5py.File):
    """An open file that was found harmless; ``stored`` are its datasets, "group/name" -> what they are."""

    stored: dict[str, Stored]


def open_file(source: Path | BinaryIO, name: str, stored: dict[str, Stored] | None = None) -> CheckedFile:
    """Open an HDF5 file for reading and check what it is made of.

    Parameters
    ----------
    source : a path, or a whole HDF5 file in memory
    name : what to call it in messages
    stored : its datasets, if these very bytes were checked before

    Raises
    ------
    FormatError
        If there is no such file, it is not whole HDF5, or holds something that is refused.
    """
    if isinstance(source, Path) and not source.is_file():
        raise FormatError(f"{name}: no such file.")
    try:
        if isinstance(source, Path):
            file = CheckedFile(source, "r", locking="best-effort", rdcc_nbytes=CHUNK_CACHE)
        else:
            file = CheckedFile(source, "r")
    except PermissionError as error:
        raise FormatError(f"{name} cannot be read: {error.strerror}.") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise FormatError(f"{name} is not a whole HDF5 file: {_first_line(error)}.") from error
    try:
        with reading(name, "its structure"):
            file.stored = dict(_check_group(file.id, name)) if stored is None else stored
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
    if attributes.get("kind") == "study":
        raise FormatError(
            f"{name} is the table of a study, not a capture: give it to ropediag laws or ropediag report."
        )
    version = attributes.get("schema_version")
    if not isinstance(version, int) or version < 1:
        raise FormatError(f"{name} is not a ropediag file: it has no schema_version. Make one with ropediag.")
    check_version(version, name)
    return attributes


def check_version(version: int, name: str) -> None:
    """Refuse a file of a later format.

    Raises
    ------
    FormatError
    """
    if version > schema.VERSION:
        raise FormatError(
            f"{name} has format version {version}; this ropediag reads up to {schema.VERSION}. "
            "Update it: pip install --upgrade ropediag."
        )


def is_attribute(name: str, value: Any) -> bool:
    """Say whether a value is of the type that this root attribute has: a number or text."""
    return isinstance(value, int | float if name in NUMERIC else str) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """Turn NumPy scalars and bytes, as h5py returns attributes, into Python's own."""
    if isinstance(value, np.generic):
        value = value.item()
    return value.decode() if isinstance(value, bytes) else value


def _check_group(group: h5py.h5g.GroupID, name: str, above: str = "") -> Iterator[tuple[str, Stored]]:
    """Check a group and what is in it, by HDF5's own calls: h5py's objects take twice as long."""
    links: list[tuple[bytes, int]] = []
    group.links.iterate(lambda key, link: links.append((key, link.type)), info=True)
    for key, kind in links:
        place = f"{above}/{key.decode(errors='replace')}"
        if kind != h5py.h5l.TYPE_HARD:
            raise FormatError(
                f"{name}: {place} is {_LINKS.get(kind, 'a foreign')} link, which may lead to another file; "
                "ropediag does not follow. Refused; take the file from a source you trust."
            )
        item = h5py.h5o.open(group, key)
        if isinstance(item, h5py.h5d.DatasetID):
            yield place.removeprefix("/"), _check_dataset(item, name, place)
        elif isinstance(item, h5py.h5g.GroupID) and not above:
            yield from _check_group(item, name, place)
        else:
            raise FormatError(f"{name}: {place} does not belong into a ropediag file.")


def _check_dataset(dataset: h5py.h5d.DatasetID, name: str, place: str) -> Stored:
    creation = dataset.get_create_plist()
    if creation.get_layout() == h5py.h5d.VIRTUAL or creation.get_external_count():
        raise FormatError(
            f"{name}: the data of {place} lie outside the file; ropediag does not follow. Refused."
        )
    filters = {creation.get_filter(index)[0] for index in range(creation.get_nfilters())}
    if not filters <= _FILTERS:
        raise FormatError(
            f"{name}: {place} is packed with filter {min(filters - _FILTERS)}, which needs foreign code. "
            "Refused; rewrite it with gzip (h5repack -f GZIP=1)."
        )
    kind = _KINDS.get(dataset.get_type().get_class())
    if kind is None or dataset.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        raise FormatError(f"{name}: {place} must hold numbers or text: got {dataset.dtype}.")
    _check_extent(dataset, creation, name, place)
    return Stored(dataset.shape, kind)


def _check_extent(dataset: h5py.h5d.DatasetID, creation: h5py.h5p.PropDCID, name: str, place: str) -> None:
    """Refuse what would take far more memory than the file holds data."""
    width, shape = dataset.get_type().get_size(), dataset.shape
    if creation.get_layout() == h5py.h5d.CHUNKED and math.prod(creation.get_chunk()) * width > LARGEST_CHUNK:
        raise FormatError(
            f"{name}: {place} is cut into chunks of {creation.get_chunk()}, far larger than ropediag's. "
            "Refused; rewrite it with smaller ones (h5repack -l)."
        )
    declared, stored = math.prod(shape) * width, dataset.get_storage_size()
    if declared > max(UNPACKED_FREELY, UNPACKED_MOST * stored):
        raise FormatError(
            f"{name}: {place} declares {declared / 2**30:,.1f} GiB and stores {stored:,} bytes: no data, but "
            "a burden to read. Refused."
        )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
