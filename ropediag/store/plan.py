"""What the finished file of a capture will hold: its variables, their shapes, chunks and size.

Worked out from the header and from the names in the units that are there, without reading their data.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ropediag import schema
from ropediag.errors import CaptureError, FormatError
from ropediag.schema import Variable
from ropediag.store.folder import Folder, open_unit, read_unit
from ropediag.store.pool import replicate_count
from ropediag.store.units import HEADER, LAYER, LOSS, RAW_SUMS, axis_sizes, check_header

_CHUNK_LEAST, _CHUNK_MOST = 2**16, 2**20  # bytes
_PIECEWISE = ("sequence", "layer", "kept")  # axes along which the file is written piece by piece


@dataclass(frozen=True)
class Plan:
    """A capture as far as it goes.

    Attributes
    ----------
    coordinates : axis name -> values
    given : path -> array, the variables known from the start
    attributes : root attributes known from the start
    variables : all variables of the file, in the schema's order
    layers, losses : the (sequence, layer) units and the sequences that are there
    """

    coordinates: Mapping[str, np.ndarray]
    given: Mapping[str, np.ndarray]
    attributes: Mapping[str, str | int | float]
    variables: tuple[Variable, ...]
    layers: frozenset[tuple[int, int]]
    losses: frozenset[int]

    @property
    def sizes(self) -> dict[str, int]:
        """Lengths of the axes."""
        return axis_sizes(self.coordinates)

    @property
    def missing_layers(self) -> tuple[tuple[int, int], ...]:
        """List the (sequence, layer) units that the file should hold and that are not there."""
        wanted = ((int(s), int(n)) for s in self.coordinates["sequence"] for n in self.coordinates["layer"])
        return tuple(unit for unit in wanted if unit not in self.layers)

    @property
    def missing_losses(self) -> tuple[int, ...]:
        """List the sequences without loss; none if the capture measures no loss."""
        wanted = [int(sequence) for sequence in self.coordinates["sequence"]]
        return tuple(s for s in wanted if s not in self.losses) if self.losses else ()

    def shape(self, variable: Variable) -> tuple[int, ...]:
        """Lengths of the axes of one variable."""
        return tuple(self.sizes[dim] for dim in variable.dims)

    def kept(self, layer: int) -> list[int]:
        """Give the places on the axis ``kept`` that belong to a layer."""
        return kept_places(self.given, layer)

    def size(self) -> int:
        """Bound the size of the file from above, in bytes, as if nothing compressed."""
        variables = sum(math.prod(self.shape(v)) * item_size(v.dtype) for v in self.variables)
        return variables + sum(values.nbytes for values in self.coordinates.values()) + 2**20


def make_plan(folder: Folder, sealed: bool = True) -> Plan:
    """Look at a partial folder.

    Parameters
    ----------
    sealed : whether every unit is read, to see that its seal is right; the header always is

    Raises
    ------
    FormatError
        If a file in it is not a unit of a known format version, or damaged.
    """
    arrays, attributes = read_unit(folder.header)
    try:
        header = check_header(arrays)
    except CaptureError as error:
        raise FormatError(f"{folder.header}: {error}") from error
    coordinates = {name: values for name, values in header.items() if name not in HEADER}
    given = {name: values for name, values in header.items() if name in HEADER}
    layers = {
        (s, n) for s, n in folder.layers() if s in coordinates["sequence"] and n in coordinates["layer"]
    }
    losses = {sequence for sequence in folder.losses() if sequence in coordinates["sequence"]}
    names = set(given)
    for path in [folder.layer(*unit) for unit in layers] + [folder.loss(sequence) for sequence in losses]:
        with open_unit(path, sealed) as file:
            names |= file.stored.keys()
    variables = tuple(_present(names))
    if any("replicate" in variable.dims for variable in variables):
        coordinates["replicate"] = np.arange(replicate_count(len(coordinates["sequence"])), dtype=np.int32)
    if any("side" in variable.dims for variable in variables):
        coordinates["side"] = np.arange(2, dtype=np.int32)
    return Plan(coordinates, given, attributes, variables, frozenset(layers), frozenset(losses))


def _present(names: set[str]) -> Iterable[Variable]:
    unknown = names - set(HEADER) - set(LAYER) - set(LOSS)
    if unknown:
        raise FormatError(f"a unit holds {min(unknown)!r}, which the format does not know.")
    for variable in schema.VARIABLES:
        pooled = "scores/rest_sum" if variable.path == "scores/rest_mean" else "scores/sum"
        if (pooled if variable.pooled else variable.path) in names - (
            set() if variable.pooled else set(RAW_SUMS)
        ):
            yield variable


def kept_places(given: Mapping[str, np.ndarray], layer: int) -> list[int]:
    """Give the places on the axis ``kept`` that belong to a layer of the header ``given``."""
    return np.flatnonzero(given.get("samples/kept_layer", np.zeros(0)) == layer).tolist()


def item_size(dtype: str) -> int:
    """Bytes of one element; a string is counted with its pointer."""
    return 64 if dtype == "str" else np.dtype(dtype).itemsize


def chunk_shape(dims: tuple[str, ...], shape: tuple[int, ...], dtype: str) -> tuple[int, ...]:
    """Choose chunks: the last two axes whole, more heads while a chunk stays small, never two layers.

    Returns
    -------
    Elements along each axis, between 64 KiB and 1 MiB together where the array has as many; a small
    array is one chunk.
    """
    if math.prod(shape) * item_size(dtype) <= _CHUNK_LEAST:
        return tuple(max(1, size) for size in shape)
    chunk = [1] * len(shape)
    elements = _CHUNK_MOST // item_size(dtype)
    for axis in reversed(range(len(shape))):
        last = axis == len(shape) - 1
        small = math.prod(chunk) * item_size(dtype) < _CHUNK_LEAST
        if last or (dims[axis] not in _PIECEWISE and (axis == len(shape) - 2 or small)):
            chunk[axis] = max(1, min(shape[axis], elements // math.prod(chunk)))
    return tuple(chunk)
