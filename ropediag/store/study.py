"""Tables of studies: the ``table.h5`` that ``ropediag study`` writes, with the root attribute ``kind``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ropediag.errors import FormatError
from ropediag.store.contents import Summary
from ropediag.store.inspect import check_version, open_file, plain, reading
from ropediag.store.seal import check_seal

if TYPE_CHECKING:
    import xarray as xr

FLAGS = ("tuned", "past_critical_base")  # netCDF has no truth values
NEEDED = ("predicted", "measured", "measured_low", "measured_high", "base", "tune_len", "past_critical_base")


def is_study(path: Path | str, *, sealed: bool = True) -> bool:
    """Return whether a file calls itself the table of a study.

    Parameters
    ----------
    sealed : first check the seal of a file that has one, since a damaged file can stop HDF5 for good; a list
        of many large files, which would read them all, leaves it out
    """
    try:
        if sealed:
            check_seal(Path(path), str(path))
        with open_file(Path(path), str(path)) as file:
            return plain(file.attrs.get("kind", "")) == "study"
    except (FormatError, OSError):
        return False


def summarize_study(path: Path | str) -> Summary:
    """Sum up the table of a study, in milliseconds.

    Returns
    -------
    Summary
        ``kind`` and ``status`` as attributes, the number of models as ``sizes["model"]``.

    Raises
    ------
    FormatError
        If it is no such table, or damaged.
    """
    path = Path(path)
    with open_file(path, str(path)) as file:
        _check_table(file, str(path))
        names = tuple(name for name, item in file.items() if item.ndim and name != "model")
        models = len(file["model"])
        known = {
            key: _read_attribute(file, key)
            for key in ("schema_version", "ropediag_version")
            if key in file.attrs
        }
    attributes = {"kind": "study", "status": "complete", **known}
    return Summary(path, attributes, {"model": models}, names, (), (), (), path.stat().st_size)


def open_study(path: Path | str) -> "xr.Dataset":
    """Read the table of a study whole: one row a model, as ``ropediag.study.make_table`` made it.

    Raises
    ------
    FormatError
        If it is no such table, or damaged.
    """
    import xarray as xr  # takes a second

    path = Path(path)
    check_seal(path, str(path))
    with open_file(path, str(path)) as file:
        _check_table(file, str(path))
    with reading(str(path), "its table"), xr.open_dataset(path, engine="h5netcdf") as table:
        table.load()
    return table.assign({name: table[name].astype(bool) for name in FLAGS if name in table})


def _read_attribute(file: h5py.File, key: str, default: Any = None) -> Any:
    """Read an attribute; netCDF writes a number as an array of one."""
    value = file.attrs.get(key, default)
    return plain(value[0] if isinstance(value, np.ndarray) and value.shape == (1,) else value)


def _check_table(file: h5py.File, name: str) -> None:
    with reading(name, "attribute 'kind'"):
        kind = plain(file.attrs.get("kind", ""))
    if kind != "study":
        raise FormatError(f"{name} is no table of a study: give the table.h5 that ropediag study wrote.")
    with reading(name, "attribute 'schema_version'"):
        check_version(int(_read_attribute(file, "schema_version", 1)), name)  # early tables have none
    missing = [each for each in ("model", *NEEDED) if each not in file]
    if missing:
        raise FormatError(f"{name} lacks {', '.join(missing)}, which the table of a study has.")
    lengths = {each: np.shape(file[each]) for each in ("model", *NEEDED)}
    if len(set(lengths.values())) != 1:
        raise FormatError(f"{name}: its columns must have one entry a model: got {lengths}.")
