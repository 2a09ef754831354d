"""A small file of the format, written at once: whole under its name, or not there at all.

For files whose arrays are all known at the end, such as an evaluation; a capture grows unit by unit
instead (``writer``). The same coordinates, labels and checksums either way.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ropediag.errors import CaptureError
from ropediag.store.consolidate import write_arrays
from ropediag.store.disk import publish_alone
from ropediag.store.folder import Folder
from ropediag.store.guard import check_attributes, check_path, check_writable
from ropediag.store.hdf5 import Attributes
from ropediag.store.plan import Plan
from ropediag.store.seal import seal_of
from ropediag.store.units import VARIABLES, axis_sizes, check_coordinate, fit, whole_part


def check_name(path: Path, force: bool = False) -> None:
    """Refuse a name that ``write_whole`` could not use, before anything is computed for it.

    Raises
    ------
    CaptureError
    """
    if path.exists() and not force:
        raise CaptureError(f"{path} exists. Choose another name with --out, or replace it with --force.")
    if Folder.beside(path).path.exists():
        raise CaptureError(f"{Folder.beside(path).path} is a capture under way. Choose another name.")
    check_writable(path)


def write_whole(
    path: Path,
    coordinates: Mapping[str, np.ndarray],
    arrays: Mapping[str, np.ndarray],
    attributes: Attributes,
    *,
    force: bool = False,
) -> Path:
    """Write coordinates and variables of the schema.

    Parameters
    ----------
    path : the file, NAME.h5; its folder is made if need be
    coordinates : axis name -> values, for every axis of the arrays
    arrays : "group/name" -> array, each shaped as the schema says
    attributes : root attributes named in ``schema.ATTRIBUTES``; status and version are set here
    force : replace a file of this name

    Returns
    -------
    path

    Raises
    ------
    CaptureError
        If the name is taken, a name or shape does not fit the schema, or the disk refuses; a file that
        was there before is then still there.
    """
    check_name(path, force)
    unknown = [name for name in arrays if name not in VARIABLES]
    if unknown:
        raise CaptureError(f"the schema has no variable {unknown[0]!r}.")
    known = {name: check_coordinate(name, np.asarray(values)) for name, values in coordinates.items()}
    sizes = axis_sizes(known)
    given = {name: fit(name, whole_part(name), array, sizes, frozenset()) for name, array in arrays.items()}
    recorded = {**check_attributes(attributes), "status": "complete"}
    variables = tuple(variable for variable in VARIABLES.values() if variable.path in given)
    image = io.BytesIO()
    write_arrays(image, Plan(known, given, recorded, variables, frozenset(), frozenset()))
    path.parent.mkdir(parents=True, exist_ok=True)
    publish_alone(check_path(path), image.getvalue() + seal_of(image))
    return path
