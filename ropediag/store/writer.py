"""CaptureWriter: a capture on its way to the disk, one unit that a kill cannot take back at a time.

The folder NAME.h5.partial grows unit by unit; ``finish`` makes NAME.h5 of it. One process writes at a
time, which a lock on the folder sees to; it ends with the process, however that ends.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from ropediag.errors import CaptureError
from ropediag.store.consolidate import publish_capture
from ropediag.store.disk import sync_folder
from ropediag.store.filled import find_fault
from ropediag.store.folder import Folder, read_unit, unit_attributes, write_unit
from ropediag.store.guard import (
    check_attributes,
    check_path,
    compare_coordinates,
    compare_identity,
    remove_capture,
    take_lock,
)
from ropediag.store.hdf5 import Attributes
from ropediag.store.inspect import open_file, read_attributes
from ropediag.store.plan import kept_places
from ropediag.store.units import LAYER, LOSS, axis_sizes, check_header, check_unit


class CaptureWriter:
    """Writes one capture; made by ``create`` or ``resume``, closed by ``finish`` or ``close``.

    ``sequence`` and ``layer`` are values of the coordinates, so ``layer`` is the layer's index in the
    model. A unit that ``write_layer`` or ``write_loss`` returned from is on the disk for good.
    """

    def __init__(self, folder: Folder, header: Mapping[str, np.ndarray], lock: int | None) -> None:
        self.path = folder.final
        self._folder = folder
        self._header = header
        self._sizes = axis_sizes(header)
        self._lock = lock  # None: closed, or finished before
        self._finished = lock is None

    @classmethod
    def create(
        cls,
        path: Path | str,
        header: Mapping[str, np.ndarray],
        attributes: Attributes,
        *,
        force: bool = False,
    ) -> "CaptureWriter":
        """Begin a capture.

        Parameters
        ----------
        path : where the finished file will be, NAME.h5
        header : coordinates ("layer", ...) and variables known now ("rope/inv_freq", ...), as the schema says
        attributes : root attributes named in ``schema.ATTRIBUTES``; status and schema version are set here
        force : remove a capture of this name, finished or not, once all arguments are found good

        Raises
        ------
        CaptureError
            If the name is taken, a name or shape does not fit the schema, or the disk refuses.
        """
        final = check_path(path)
        checked, folder = check_header(header), Folder.beside(final)
        recorded = check_attributes(attributes)
        if force:
            remove_capture(final, folder)
        elif final.exists():
            raise CaptureError(f"{final} exists. Choose another name, or replace it with --force.")
        elif folder.path.exists():
            raise CaptureError(
                f"{folder.path} exists: a capture that is not finished. Go on with --resume, or begin anew "
                "with --force."
            )
        return cls._begin(folder, checked, recorded)

    @classmethod
    def resume(
        cls, path: Path | str, header: Mapping[str, np.ndarray], attributes: Attributes
    ) -> "CaptureWriter":
        """Go on with a capture: the same arguments as for ``create``.

        Begins one if there is none. If NAME.h5 is this very capture, finished, every unit is there
        already and ``finish`` returns at once.

        Raises
        ------
        CaptureError
            As ``create``; and if what is there comes from another configuration, model, text or
            length, naming what differs.
        """
        final = check_path(path)
        checked, folder = check_header(header), Folder.beside(final)
        recorded = check_attributes(attributes)
        if final.exists():
            with open_file(final, str(final)) as file:
                compare_identity(final, read_attributes(file, str(final)), recorded)
            return cls(folder, checked, None)
        if not folder.path.exists():
            return cls._begin(folder, checked, recorded)
        lock = take_lock(folder.path)
        try:
            folder.remove_leftovers()
            if folder.header.exists():
                arrays, earlier = read_unit(folder.header)
                compare_identity(folder.path, earlier, recorded)
                compare_coordinates(folder.path, arrays, checked)
                checked = check_header(arrays)
            elif folder.layers() or folder.losses():
                raise CaptureError(f"{folder.header} is missing, so its layers cannot be used. Use --force.")
            else:
                write_unit(folder.header, checked, recorded)
        except BaseException:
            os.close(lock)
            raise
        return cls(folder, checked, lock)

    @classmethod
    def _begin(
        cls, folder: Folder, header: Mapping[str, np.ndarray], attributes: Attributes
    ) -> "CaptureWriter":
        try:
            folder.path.mkdir()
            sync_folder(folder.path.parent)
        except OSError as error:
            raise CaptureError(f"cannot make the folder {folder.path}: {error.strerror}.") from error
        lock = take_lock(folder.path)
        try:
            write_unit(folder.header, header, attributes)
        except BaseException:
            os.close(lock)
            shutil.rmtree(folder.path)
            raise
        return cls(folder, header, lock)

    def has_layer(self, sequence: int, layer: int) -> bool:
        """Say whether this unit is on the disk."""
        self._check_coordinates(sequence=sequence, layer=layer)
        return self._finished or self._folder.layer(sequence, layer).exists()

    def has_loss(self, sequence: int) -> bool:
        """Say whether this sequence's loss is on the disk."""
        self._check_coordinates(sequence=sequence)
        return self._finished or self._folder.loss(sequence).exists()

    def write_layer(self, sequence: int, layer: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write one (sequence, layer).

        Parameters
        ----------
        arrays : path -> array: every variable of the schema with axes (sequence, layer, ...) without
            these two; ``samples/kept_query`` and ``kept_key`` as (kept heads of this layer, position,
            channel); and the raw sums of the scores: ``scores/sum`` (query_head, group, pair, lag),
            ``scores/sum_square`` (query_head, pair, lag), ``scores/rest_sum`` (query_head, lag), all
            float64, and ``scores/pair_count`` (group, lag), int64: query-key pairs. A layer with fewer
            heads, pairs or channels than the coordinates has shorter arrays.

        Raises
        ------
        CaptureError
            If an array does not fit, is infinite somewhere or full of NaN, or the disk is full or refuses;
            what was written before is kept.
        """
        self._check_coordinates(sequence=sequence, layer=layer)
        kept = len(kept_places(self._header, layer))
        unit = check_unit(LAYER, arrays, self._sizes, kept)
        self._write(self._folder.layer(sequence, layer), unit, f"layer {layer} of sequence {sequence}")

    def write_loss(self, sequence: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write one sequence's loss: ``loss/nll`` (position,) and, if measured, ``loss/nll_windowed``."""
        self._check_coordinates(sequence=sequence)
        unit = check_unit(LOSS, arrays, self._sizes)
        self._write(self._folder.loss(sequence), unit, f"the loss of sequence {sequence}")

    def finish(self, attributes: Attributes) -> Path:
        """Make NAME.h5 of all units, remove the folder, and close.

        Parameters
        ----------
        attributes : root attributes known only now, such as ``seconds``; they win over earlier ones

        Raises
        ------
        CaptureError
            If a unit is missing or the disk has no room; the folder stays and can be resumed.
        """
        recorded = check_attributes(attributes)
        if not self._finished:
            self._check_open("the capture")
            self._check_whole()
            publish_capture(self._folder, {**recorded, "status": "complete"})
            self._finished = True
        if self._folder.path.exists():
            self._folder.remove()
            sync_folder(self.path.parent)
        self.close()
        return self.path

    def close(self) -> None:
        """Let go of the folder; what was written stays and can be resumed."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "CaptureWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, path: Path, arrays: Mapping[str, np.ndarray], what: str) -> None:
        self._check_open(what)
        if fault := find_fault(arrays):
            raise CaptureError(f"{what} is not saved: {fault}.")
        try:
            write_unit(path, arrays, unit_attributes())
        except CaptureError as error:
            units = len(self._folder.layers()) + len(self._folder.losses())
            raise CaptureError(
                f"{what} is not saved: {error} The {units} units before it are kept in {self._folder.path}: "
                "make room, then repeat with --resume."
            ) from error

    def _check_open(self, what: str) -> None:
        if self._lock is None:
            raise CaptureError(f"{self.path} is finished or closed, so {what} cannot be written.")

    def _check_coordinates(self, **values: int) -> None:
        for name, value in values.items():
            if value not in self._header[name]:
                raise CaptureError(
                    f"{self.path} has no {name} {value}: got only {self._header[name].tolist()}."
                )

    def _check_whole(self) -> None:
        layers, losses = self._folder.layers(), self._folder.losses()
        sequences = self._header["sequence"].tolist()
        wanted = [(s, n) for s in sequences for n in self._header["layer"].tolist()]
        missing = [f"layer {n} of sequence {s}" for s, n in wanted if (s, n) not in layers]
        missing += [f"the loss of sequence {s}" for s in sequences if losses and s not in losses]
        if missing:
            raise CaptureError(
                f"{self.path} cannot be finished: {len(missing)} units are missing, first {missing[0]}."
            )
