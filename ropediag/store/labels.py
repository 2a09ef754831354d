"""Labelled arrays that stay in the file until they are used.

The only module of the store that imports xarray, so it is imported late. Data come through the open
and checked h5py file; damage met on the way is a FormatError that names file and variable.
"""

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from ropediag.errors import CaptureError
from ropediag.store.inspect import reading
from ropediag.store.units import DIMENSIONS, VARIABLES

Check = Callable[[str, np.ndarray], np.ndarray]


def to_dataset(file: h5py.File, paths: tuple[str, ...], name: str, check: Check) -> xr.Dataset:
    """Gather variables of one group, with the coordinates of all their axes.

    Parameters
    ----------
    file : an open file, checked against the schema
    paths : of the variables
    name : of the file, for messages
    check : gives a whole variable back, named by its path, or raises FormatError
    """
    dims = dict.fromkeys(dim for path in paths for dim in VARIABLES[path].dims)
    coordinates = {dim: to_coordinate(file, dim, name) for dim in dims}
    return xr.Dataset(
        {VARIABLES[path].name: _variable(file, path, name, check) for path in paths}, coordinates
    )


def to_array(file: h5py.File, path: str, name: str, check: Check) -> xr.DataArray:
    """Give one variable with the coordinates of its axes; arguments as for ``to_dataset``."""
    variable = VARIABLES[path]
    coordinates = {dim: to_coordinate(file, dim, name) for dim in variable.dims}
    return xr.DataArray(_variable(file, path, name, check), coordinates, name=variable.name)


def to_coordinate(file: h5py.File, dim: str, name: str) -> xr.Variable:
    """Read the coordinate of an axis."""
    with reading(name, dim):
        values = file[dim][...]
    return xr.Variable(
        (dim,), values, {"units": DIMENSIONS[dim].units, "long_name": DIMENSIONS[dim].long_name}
    )


def _variable(file: h5py.File, path: str, name: str, check: Check) -> xr.Variable:
    variable = VARIABLES[path]
    lazy = indexing.LazilyIndexedArray(_FileArray(file[path], path, name, check))
    attributes = {key: getattr(variable, key) for key in ("units", "long_name", "method")}
    return xr.Variable(variable.dims, indexing.MemoryCachedArray(lazy), attributes)


class _FileArray(BackendArray):
    """One dataset of the file; read when it is indexed."""

    def __init__(self, dataset: h5py.Dataset, path: str, name: str, check: Check) -> None:
        self._dataset, self._path, self._name, self._check = dataset, path, name, check
        self.shape = dataset.shape
        self.dtype = np.dtype(object) if VARIABLES[path].dtype == "str" else dataset.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER_1VECTOR, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        if not self._dataset:
            raise CaptureError(f"{self._name} is closed, so {self._path} cannot be read. Open it again.")
        with reading(self._name, self._path):
            source = self._dataset.asstr() if self.dtype == object else self._dataset
            found = source[key]
        return self._check(self._path, found) if found.shape == self.shape else found
