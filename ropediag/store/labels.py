"""Labelled arrays that stay in the file until they are used.

The only module of the store that imports xarray, so it is imported late. Data come through the open
and checked h5py file; damage met on the way is a FormatError that names file and variable.
"""

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from ropediag.errors import CaptureError
from ropediag.store.filled import check_filled
from ropediag.store.inspect import reading
from ropediag.store.units import DIMENSIONS, VARIABLES

if TYPE_CHECKING:
    from ropediag.store.reader import Capture


def to_dataset(capture: "Capture", file: h5py.File, paths: tuple[str, ...]) -> xr.Dataset:
    """Gather variables of one group, with the coordinates of all their axes.

    Parameters
    ----------
    capture : the open capture
    file : its file, checked against the schema
    paths : of the variables
    """
    dims = dict.fromkeys(dim for path in paths for dim in VARIABLES[path].dims)
    coordinates = {dim: _coordinate(capture, dim) for dim in dims}
    variables = {VARIABLES[path].name: _variable(capture, file, path) for path in paths}
    return xr.Dataset(variables, coordinates)


def to_array(capture: "Capture", file: h5py.File, path: str) -> xr.DataArray:
    """Give one variable with the coordinates of its axes; arguments as for ``to_dataset``."""
    variable = VARIABLES[path]
    coordinates = {dim: _coordinate(capture, dim) for dim in variable.dims}
    return xr.DataArray(_variable(capture, file, path), coordinates, name=variable.name)


def _coordinate(capture: "Capture", dim: str) -> xr.Variable:
    attributes = {"units": DIMENSIONS[dim].units, "long_name": DIMENSIONS[dim].long_name}
    return xr.Variable((dim,), capture.values(dim), attributes)


def _variable(capture: "Capture", file: h5py.File, path: str) -> xr.Variable:
    variable = VARIABLES[path]
    lazy = indexing.LazilyIndexedArray(_FileArray(capture, file[path], path))
    attributes = {key: getattr(variable, key) for key in ("units", "long_name", "method")}
    return xr.Variable(variable.dims, indexing.MemoryCachedArray(lazy), attributes)


class _FileArray(BackendArray):
    """One dataset of the file; read when it is indexed."""

    def __init__(self, capture: "Capture", dataset: h5py.Dataset, path: str) -> None:
        self._capture, self._dataset, self._path = capture, dataset, path
        self.shape = dataset.shape
        self.dtype = np.dtype(object) if VARIABLES[path].dtype == "str" else dataset.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER_1VECTOR, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        name = str(self._capture.path)
        if not self._dataset:
            raise CaptureError(f"{name} is closed, so {self._path} cannot be read. Open it again.")
        with reading(name, self._path):
            source = self._dataset.asstr() if self.dtype == object else self._dataset
            found = source[key]
        return check_filled(self._path, found, self._capture) if found.shape == self.shape else found
