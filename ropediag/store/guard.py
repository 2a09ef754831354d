"""What must hold before a capture is begun, resumed or replaced.

Checks of names, attributes and identity, and the lock that keeps a second process out of a folder.
"""

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ropediag import schema
from ropediag.errors import CaptureError
from ropediag.store.disk import FULL
from ropediag.store.folder import SUFFIX, Folder, unit_attributes
from ropediag.store.hdf5 import Attributes
from ropediag.store.inspect import NUMERIC, is_attribute
from ropediag.store.units import DIMENSIONS

IDENTITY = ("schema_version", "config", "weight_fingerprint", "text_hash", "length")


def check_path(path: Path | str) -> Path:
    """Check the name of a finished file: no folder, in a folder that exists, or CaptureError."""
    path = Path(path)
    if path.name.endswith(SUFFIX):
        raise CaptureError(f"name the finished file, not its folder: got {path}.")
    if not path.parent.is_dir():
        raise CaptureError(
            f"{path.parent} is not a folder. Make it, or choose another place for {path.name}."
        )
    if path.is_dir():
        raise CaptureError(f"{path} is a folder. Choose another name.")
    return path


def check_writable(path: Path) -> Path:
    """Find the nearest folder above ``path`` that exists, and refuse one that cannot be written to."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        if error.errno in FULL:  # how much is needed is said where it is known
            return folder
        raise CaptureError(
            f"cannot write {path}: {folder} is not a folder that can be written to ({error.strerror})."
        ) from error


def check_attributes(attributes: Attributes) -> dict[str, str | int | float]:
    """Check root attributes against the schema; gives them with the version of the format."""
    for name, value in attributes.items():
        if name not in schema.ATTRIBUTES:
            raise CaptureError(f"a capture has no attribute {name!r}: see ATTRIBUTES in ropediag/schema.py.")
        if not is_attribute(name, value):
            kind = "a number" if name in NUMERIC else "text"
            raise CaptureError(f"the attribute {name!r} must be {kind}: got {value!r}.")
    if attributes.get("kind", schema.KINDS[0]) not in schema.KINDS:
        raise CaptureError(f"kind must be one of {', '.join(schema.KINDS)}: got {attributes['kind']!r}.")
    return unit_attributes(**{**attributes, "schema_version": schema.VERSION})


def compare_identity(place: Path, earlier: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Raise CaptureError where what makes two runs one capture differs, naming it."""
    for name in IDENTITY:
        if earlier.get(name) != now.get(name):
            compare = _compare_configs if name == "config" else _compare
            difference = compare(earlier.get(name), now.get(name))
            raise CaptureError(
                f"{place} was begun with another {name}: {difference}. "
                "Repeat the earlier command, choose another name, or replace it with --force."
            )


def _compare(earlier: object, now: object) -> str:
    return f"{earlier!r} there, {now!r} now"


def _compare_configs(earlier: object, now: object) -> str:
    """Name the fields that differ; a config that is no JSON object is shown whole."""
    try:
        there, here = json.loads(str(earlier)), json.loads(str(now))
        fields = sorted(there.keys() | here.keys())
    except (ValueError, AttributeError):
        return _compare(earlier, now)
    differing = [name for name in fields if there.get(name) != here.get(name)]
    return "; ".join(f"{name} {_compare(there.get(name), here.get(name))}" for name in differing)


def compare_coordinates(
    place: Path, earlier: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray]
) -> None:
    """Raise CaptureError where the axes of two runs differ, naming the first."""
    for name in DIMENSIONS:
        if (name in earlier) != (name in now) or not np.array_equal(earlier.get(name, 0), now.get(name, 0)):
            raise CaptureError(
                f"{place} was begun with another coordinate {name!r}. Repeat the earlier command, choose "
                "another name, or replace it with --force."
            )


def remove_capture(final: Path, folder: Folder) -> None:
    """Remove a finished capture and the folder of one that grows, unless a process writes there."""
    if folder.path.exists():
        folder.check_removable()
        os.close(take_lock(folder.path))
        folder.remove()
    final.unlink(missing_ok=True)


def take_lock(folder: Path) -> int:
    """Lock the folder for this process; the lock is the open descriptor that is returned."""
    import fcntl  # not on every system, and reading needs none

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            os.close(descriptor)
            raise CaptureError(f"another process is writing {folder}. Wait for it, or stop it.") from error
    return descriptor  # file systems without locks: nothing to hold, the capture goes on
