"""open_capture: a capture, finished or still growing, as labelled arrays.

Reading imports neither torch nor, until a labelled array is asked for, xarray. A partial folder is
turned into an image of its future file by the code that will write that file; what is missing is NaN.
"""

import atexit
import io
import math
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import h5py
import numpy as np

from ropediag.errors import CaptureError, ConfigError, FormatError
from ropediag.store.consolidate import consolidate
from ropediag.store.contents import check_contents, check_numbers, check_values
from ropediag.store.filled import check_filled
from ropediag.store.folder import Folder, find
from ropediag.store.inspect import CheckedFile, open_file, read_attributes, reading
from ropediag.store.plan import make_plan
from ropediag.store.seal import open_sealed
from ropediag.store.units import GROUPS, VARIABLES

if TYPE_CHECKING:
    import xarray as xr

    from ropediag.rope import RopeSpec
    from ropediag.theory.training import Training

_FEW = 12  # values of an axis that a message names one by one


def open_capture(path: Path | str) -> "Capture":
    """Open NAME.h5, NAME.h5.partial, or NAME.h5 while only its folder exists.

    Raises
    ------
    FormatError
        If there is no such capture, it is damaged, of a newer format, or holds what is refused (links
        to other files, foreign filters, lengths that are none).
    """
    place = find(path)
    if isinstance(place, Folder):
        try:
            return _open_folder(place)
        except FormatError:
            if place.header.exists() or not place.final.is_file():
                raise
            place = place.final  # the capture was finished while we looked at its folder
    file = open_sealed(place, str(place))
    try:
        return Capture(file, place)
    except BaseException:
        file.close()
        raise


def _open_folder(folder: Folder) -> "Capture":
    plan, image = make_plan(folder), io.BytesIO()
    consolidate(folder, plan, image, {"status": "partial"}, compress=False)
    file = open_file(image, str(folder.path))
    capture = Capture(file, folder.path, plan.missing_layers, plan.missing_losses)
    _IMAGES.add(capture)
    return capture


_IMAGES: "WeakSet[Capture]" = WeakSet()  # open images; HDF5 reads them through Python


@atexit.register
def _close_images() -> None:
    """Close what was left open while Python is still there: HDF5 would close it afterwards, and crash."""
    for capture in list(_IMAGES):
        capture.close()


class Capture:
    """An open capture: ``capture["scores/mean"]``, ``capture["scores"]`` or ``capture.scores``.

    Arrays are read from the file when they are used, as long as the capture is open; it closes at the
    end of a ``with`` block or by ``close``.

    Attributes
    ----------
    path : the file, or the folder of a capture that is not finished
    attrs : root attributes, see ``schema.ATTRIBUTES``
    sizes : axis name -> length
    variables : paths of the variables it holds
    missing_layers, missing_losses : (sequence, layer) units and sequences still to come: NaN
    """

    def __init__(
        self,
        file: CheckedFile,
        path: Path,
        missing_layers: tuple[tuple[int, int], ...] = (),
        missing_losses: tuple[int, ...] = (),
    ) -> None:
        self.path = path
        self.attrs = check_numbers(read_attributes(file, str(path)), str(path))
        self.sizes, self.variables = check_contents(file, str(path))
        check_values(file, self.attrs, str(path))
        self.missing_layers, self.missing_losses = missing_layers, missing_losses
        self._file = file
        self._closed = False
        self._axes: dict[str, np.ndarray] = {}
        self._used: dict[str, h5py.Dataset] = {}  # kept open: each holds the chunk that was read last

    @property
    def status(self) -> str:
        """``complete`` or ``partial``."""
        return str(self.attrs.get("status", "complete"))

    @property
    def groups(self) -> tuple[str, ...]:
        """List the groups that hold a variable."""
        return tuple(group for group in GROUPS if self._members(group))

    def __contains__(self, key: object) -> bool:
        return key in self.variables or key in self.groups

    def __getitem__(self, key: str) -> Any:
        """Give a variable as DataArray ("scores/mean") or a group as Dataset ("scores").

        Raises
        ------
        FormatError
            If the capture does not hold it.
        CaptureError
            If the capture is closed.
        """
        from ropediag.store.labels import to_array, to_dataset  # xarray takes a second to import

        self._check(key)
        if key in VARIABLES:
            return to_array(self, self._file, key)
        return to_dataset(self, self._file, self._members(key))

    def __getattr__(self, name: str) -> "xr.Dataset":
        if name.startswith("_") or name not in GROUPS:
            raise AttributeError(f"a capture has no attribute {name!r}; its groups: {', '.join(GROUPS)}")
        if name not in self.groups:
            raise AttributeError(self._absent(name))
        return self[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.groups]

    def values(self, path: str, **at: int) -> np.ndarray:
        """Read a variable ("rope/inv_freq") or a coordinate ("lag") as a plain array.

        Parameters
        ----------
        at : axis -> its coordinate there; only that part is read, without the axis. Without any, all is.

        Raises
        ------
        ConfigError
            If the variable has no such axis, or the capture no such layer, head, ... on it.
        FormatError, CaptureError
            As ``capture[path]``; of a whole variable also if a measured layer holds nothing but NaN.
        """
        is_axis = path in self.sizes
        if not is_axis:
            self._check(path)
        axes = (path,) if is_axis else VARIABLES[path].dims
        for axis in at.keys() - set(axes):
            raise ConfigError(f"{path} has no axis {axis}: it has {', '.join(axes)}.")
        key = tuple(self.place(axis, at[axis]) if axis in at else slice(None) for axis in axes)
        if is_axis:
            return self._coordinate(path)[key]
        with reading(str(self.path), path):
            if path not in self._used:
                self._used[path] = self._file[path]
            dataset = self._used[path]
            found = (dataset.asstr() if h5py.check_string_dtype(dataset.dtype) else dataset)[key]
        return found if at else check_filled(path, found, self)

    def _coordinate(self, axis: str) -> np.ndarray:
        """Give a coordinate, read once: many ask for it, and HDF5 lets only one read at a time."""
        self._check_open()
        if axis not in self._axes:
            with reading(str(self.path), axis):
                self._axes[axis] = self._file[axis][...]
            self._axes[axis].flags.writeable = False
        return self._axes[axis]

    def place(self, axis: str, value: int) -> int:
        """Find where on an axis a layer, head, pair, ... lies.

        Raises
        ------
        ConfigError
            If the capture does not hold it.
        """
        held = self._coordinate(axis).tolist()
        if value not in held:
            raise ConfigError(f"{self.path} holds no {axis} {value}: it holds {_list_held(held)}.")
        return held.index(value)

    def spec(self) -> "RopeSpec":
        """Give the rotary geometry of the model as it was when captured.

        Raises
        ------
        FormatError
            If the file holds no geometry, or one that contradicts itself.
        """
        from ropediag.rope import RopeSpec

        base = self.attrs.get("base", math.nan)
        try:
            return RopeSpec(
                inv_freq=self.values("rope/inv_freq"),
                channels=self.values("rope/channels"),
                attention_factor=self.values("rope/attention_factor"),
                head_dim=self.values("rope/head_dim"),
                layout=self.attrs.get("layout", ""),
                base=None if math.isnan(base) else base,
            )
        except ConfigError as error:
            raise FormatError(f"{self.path}: the geometry in rope/ cannot be used: {error}") from error

    @cached_property
    def training(self) -> "Training":
        """What training showed the captured layers: phases, trained reach, unseen lags, the two limits.

        Files of every version are judged by the same rule; those before version 7 hold four numbers in place
        of phases.

        Raises
        ------
        ConfigError
            If the file does not state the length of pretraining.
        FormatError
            If its phases cannot be.
        """
        from ropediag.theory.record import recover_training

        if int(self.attrs.get("train_len") or 0) < 2 and "training/sequence_len" not in self:
            raise ConfigError(
                f"{self.path} does not state the length of pretraining. State the training: ropediag "
                f"set-training {self.path} --phase len=TOKENS."
            )
        try:
            return recover_training(self.attrs, self.__contains__, self.values)
        except ConfigError as error:
            raise FormatError(f"{self.path}: the phases of training cannot be used: {error}") from error

    @property
    def critical_pair(self) -> "xr.DataArray":
        """First pair without a full turn in training, (layer); -1 without RoPE. Errors as ``training``."""
        labels = {"units": "1", "long_name": "first pair without a full turn in training"}
        found = self["rope/inv_freq"].isel(pair=0, drop=True)
        return found.copy(data=self.training.critical_pair()).assign_attrs(labels)

    @property
    def stale(self) -> tuple[str, ...]:
        """Parts that were measured under another statement of training, and so keep the old one's names.

        ``partial``, where it is split at another pair than the critical one; ``loss/nll_windowed``, where its
        windows are not as long as the longest sequences of training. Empty where the training is not known.
        """
        try:
            training = self.training
        except ConfigError:
            return ()
        found = []
        split = self.values("rope/critical_pair") if "partial/past_mean" in self else training.critical_pair()
        if (split != training.critical_pair()).any():
            found.append("partial")
        longest = max(phase.length for phase in training.phases)
        if "loss/nll_windowed" in self and self.window_len != longest:
            found.append("loss/nll_windowed")
        return tuple(found)

    @property
    def window_len(self) -> int:
        """Tokens of the windows of ``loss/nll_windowed``; 0 where it has none."""
        return int(self.attrs.get("window_len") or self.attrs.get("train_len") or 0)

    def to_activation_names(self) -> "dict[str, xr.DataArray]":
        """Find what this capture holds of TransformerLens' activations, under their names.

        Returns
        -------
        ``blocks.{layer}.attn.hook_rot_q`` and ``hook_rot_k``: rotated queries and keys, (sequence, position,
        head, channel), at the sampled positions. Those before the rotation, ``hook_q`` and ``hook_k``, are
        what the file holds; they are after any norm on queries and keys

        Raises
        ------
        FormatError, CaptureError
            As ``capture["samples/query"]``.
        """
        from ropediag.store.activations import name_activations

        return name_activations(self)

    def close(self) -> None:
        """Close the file; arrays that were not read yet cannot be read any more."""
        self._closed = True
        self._file.close()

    def __enter__(self) -> "Capture":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        axes = ("sequence", "layer", "query_head", "pair", "lag", "position")
        sizes = ", ".join(f"{dim} {self.sizes[dim]}" for dim in axes if dim in self.sizes)
        missing = f", {len(self.missing_layers)} layers missing" if self.missing_layers else ""
        lines = [
            f"<Capture {self.path} ({self.status}{missing})",
            f"  model: {self.attrs.get('model', 'unknown')}",
        ]
        lines += [f"  sizes: {sizes}"]
        for group in self.groups:
            names = ", ".join(path.partition("/")[2] for path in self._members(group))
            lines.append(f"  {group}: {names}")
        return "\n".join(lines) + ">"

    def _members(self, group: str) -> tuple[str, ...]:
        return tuple(path for path in self.variables if VARIABLES[path].group == group)

    def _check(self, key: str) -> None:
        self._check_open()
        if key not in self:
            raise FormatError(self._absent(key))

    def _check_open(self) -> None:
        if self._closed:
            raise CaptureError(f"{self.path} is closed. Open it again.")

    def _absent(self, key: str) -> str:
        if key in VARIABLES or key in GROUPS:
            held = ", ".join(self.groups)
            return f"{self.path} holds no {key}: the capture did not record it. It holds {held}."
        return f"the format knows no {key!r}. This capture holds: {', '.join(self.variables)}."


def _list_held(values: list[int]) -> str:
    """Name all of a few values, the first and the last of many."""
    few = len(values) <= _FEW
    return ", ".join(map(str, values)) if few else f"{len(values)} of them, {values[0]} to {values[-1]}"
