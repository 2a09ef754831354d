"""The folder NAME.h5.partial in which a capture grows: what its files are called and what they hold.

    header.h5                what was known at the start
    layer-SSSS-LLLL.h5       one sequence through one layer (index of the layer in the model)
    loss-SSSS.h5             one sequence

Each file is whole or absent, and is sealed as a finished capture is (``seal``).
"""

import io
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ropediag import schema
from ropediag.errors import CaptureError, FormatError
from ropediag.store.disk import publish
from ropediag.store.hdf5 import Attributes, build_image
from ropediag.store.inspect import CheckedFile, open_file, plain, read_attributes, reading
from ropediag.store.seal import open_sealed, seal_of

SUFFIX = ".partial"
HEADER_NAME = "header.h5"
_LAYER = re.compile(r"layer-(\d{4,9})-(\d{4,9})\.h5")
_LOSS = re.compile(r"loss-(\d{4,9})\.h5")
_TEMPORARY = re.compile(r"\..*\.tmp")


@dataclass(frozen=True)
class Folder:
    """The partial folder of one capture."""

    path: Path

    @classmethod
    def beside(cls, final: Path) -> "Folder":
        """Name the folder in which the capture ``final`` grows."""
        return cls(final.with_name(final.name + SUFFIX))

    @property
    def final(self) -> Path:
        """The file that the capture becomes."""
        return self.path.with_name(self.path.name.removesuffix(SUFFIX))

    @property
    def header(self) -> Path:
        """Where what was known at the start lies."""
        return self.path / HEADER_NAME

    def layer(self, sequence: int, layer: int) -> Path:
        """Where one sequence through one layer lies."""
        return self.path / f"layer-{sequence:04d}-{layer:04d}.h5"

    def loss(self, sequence: int) -> Path:
        """Where the loss of one sequence lies."""
        return self.path / f"loss-{sequence:04d}.h5"

    def layers(self) -> set[tuple[int, int]]:
        """List the (sequence, layer) units that are there."""
        matches = (_LAYER.fullmatch(entry.name) for entry in self.path.iterdir())
        return {(int(match[1]), int(match[2])) for match in matches if match}

    def losses(self) -> set[int]:
        """List the sequences whose loss is there."""
        matches = (_LOSS.fullmatch(entry.name) for entry in self.path.iterdir())
        return {int(match[1]) for match in matches if match}

    def size(self) -> int:
        """Add up the bytes of its files."""
        return sum(entry.stat().st_size for entry in self.path.iterdir())

    def remove_leftovers(self) -> None:
        """Remove the temporary files that a killed run left."""
        for entry in self.path.iterdir():
            if _TEMPORARY.fullmatch(entry.name):
                entry.unlink()

    def check_removable(self) -> None:
        """Raise CaptureError unless it is a folder with nothing in it but a capture's own files."""
        if self.path.is_symlink() or not self.path.is_dir():
            raise CaptureError(
                f"{self.path} is not the folder of a capture. Move it away or choose another name."
            )
        names = {entry.name for entry in self.path.iterdir()} - {self.header.name}
        strange = [name for name in names if not any(p.fullmatch(name) for p in (_LAYER, _LOSS, _TEMPORARY))]
        if strange:
            raise CaptureError(
                f"{self.path} holds {min(strange)!r}, which is not a capture's file, so it is not removed. "
                "Move it away or choose another name."
            )

    def remove(self) -> None:
        """Remove the folder, its header last: until then the units can still be read."""
        self.check_removable()
        for entry in self.path.iterdir():
            if entry != self.header:
                entry.unlink()
        shutil.rmtree(self.path)


def find(path: Path | str) -> Path | Folder:
    """Find the capture that a path names: NAME.h5, NAME.h5.partial, or NAME.h5 that is still a folder.

    Raises
    ------
    FormatError
        If there is none.
    """
    path = Path(path)
    if not path.name.removesuffix(SUFFIX):
        raise FormatError(f"{str(path)!r} names no file. Name a capture, such as captures/my-demo-8192.h5.")
    if path.name.endswith(SUFFIX) and path.is_dir():
        return Folder(path)
    final = path.with_name(path.name.removesuffix(SUFFIX))
    if final.is_file():
        return final
    if Folder.beside(final).path.is_dir():
        return Folder.beside(final)
    if path.is_dir():
        raise FormatError(f"{path} is a folder, not a capture. Name one file in it.")
    raise FormatError(f"{path}: no such capture, neither a file nor a folder {final.name}{SUFFIX}.")


def write_unit(path: Path, arrays: Mapping[str, np.ndarray], attributes: Attributes) -> None:
    """Write one unit: whole, sealed and on the disk when this returns, absent otherwise."""
    image = build_image(arrays, attributes)
    publish(path, image + seal_of(io.BytesIO(image)))


def open_unit(path: Path, sealed: bool = True) -> CheckedFile:
    """Open one unit for reading.

    Parameters
    ----------
    path : no link, whose file would not be of this folder
    sealed : whether to read it whole first, to see that its seal is right

    Raises
    ------
    FormatError
        As ``open_sealed``.
    """
    if path.is_symlink():
        raise FormatError(
            f"{path} is a link, which ropediag does not follow: it may lead elsewhere. Refused."
        )
    try:
        return open_sealed(path, str(path)) if sealed else open_file(path, str(path))
    except FormatError as error:
        if path.name == HEADER_NAME or not path.is_file():
            raise
        raise FormatError(
            f"{error} Or remove it and run the capture again with --resume: only this part is computed anew."
        ) from error


def read_unit(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str | int | float]]:
    """Read one unit.

    Returns
    -------
    arrays (path -> array) and attributes, as they were written

    Raises
    ------
    FormatError
        If the file is not a unit of a known format version, or damaged.
    """
    arrays: dict[str, np.ndarray] = {}
    with open_unit(path) as file:
        version = read_attributes(file, str(path))["schema_version"]
        if version < schema.SEALED_SINCE:
            raise FormatError(
                f"{path} belongs to a capture begun with an older ropediag (format {version}), whose parts "
                "carry no seal. Finish it with that one, or begin anew with --force."
            )
        for name in file.stored:
            with reading(str(path), name):
                dataset = file[name]
                arrays[name] = dataset.asstr()[...] if dataset.dtype == object else dataset[...]
        with reading(str(path), "its attributes"):
            attributes = {key: plain(value) for key, value in file.attrs.items()}
    return arrays, attributes


def unit_attributes(**attributes: str | int | float) -> dict[str, str | int | float]:
    """Attributes of a unit: the given ones and the version of the format."""
    return {"schema_version": schema.VERSION, **attributes}
