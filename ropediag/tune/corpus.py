"""The default training text: a fixed list of Python standard library files, each with its hash.

The list ships as ``assets/stdlib.txt``, made from Python 3.11.7 by ``list_standard_library``. A file
belongs to the held-out split by a hash of its path alone, so the split is the same on every machine.
Left out are tests, generated tables and files that differ between builds, and the packages that later
Pythons dropped. Other Python versions have other files: ``read_standard_library`` says how many.
"""

import hashlib
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from ropediag.assets import standard_library_list
from ropediag.errors import ConfigError

# Folders left out, wherever they stand in a path.
_SKIPPED = frozenset(
    {"__phello__", "__pycache__", "distutils", "encodings", "idle_test", "lib-dynload", "lib2to3"}
    | {"pydoc_data", "site-packages", "test", "tests", "turtledemo"}
)
_SKIPPED_STARTS = ("_sysconfigdata", "__hello__", "config-")
_HELD_OUT_IN = 6  # one file in six is held out


@dataclass(frozen=True)
class LibraryFile:
    """One line of the list: split (``train`` or ``heldout``), SHA-256 of the bytes, path with slashes."""

    split: str
    sha256: str
    path: str


@dataclass(frozen=True)
class LibraryText:
    """The bytes of one split as this Python has them, and how they compare with the list."""

    text: bytes
    files: int
    differing: int
    missing: int


def library_folder() -> Path:
    """Name the folder of this Python's standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def list_standard_library(folder: Path) -> list[LibraryFile]:
    """Choose the files of a standard library and split them; this is how ``assets/stdlib.txt`` was made."""
    chosen = []
    for file in sorted(folder.rglob("*.py")):
        path = file.relative_to(folder)
        if _SKIPPED & set(path.parts) or any(part.startswith(_SKIPPED_STARTS) for part in path.parts):
            continue
        held_out = int(hashlib.sha256(path.as_posix().encode()).hexdigest(), 16) % _HELD_OUT_IN == 0
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        chosen.append(LibraryFile("heldout" if held_out else "train", digest, path.as_posix()))
    return chosen


def read_library_list() -> list[LibraryFile]:
    """Read the bundled list, in path order."""
    lines = standard_library_list().read_text(encoding="utf-8").splitlines()
    return [LibraryFile(*line.split(" ", 2)) for line in lines]


def read_standard_library(split: str = "train", folder: Path | None = None) -> LibraryText:
    """Join the files of one split, in the list's order, as this machine has them.

    Parameters
    ----------
    split : str, ``train`` or ``heldout``
    folder : Path, optional
        A standard library; this Python's own by default.

    Raises
    ------
    ConfigError
        If more than half of the files are missing.
    """
    folder = folder or library_folder()
    wanted = [file for file in read_library_list() if file.split == split]
    found: list[bytes] = []
    differing = 0
    for file in wanted:
        path = folder / file.path
        if path.is_file():
            found.append(path.read_bytes())
            differing += hashlib.sha256(found[-1]).hexdigest() != file.sha256
    if 2 * len(found) < len(wanted):
        raise ConfigError(
            f"the default text needs Python's standard library: {len(wanted) - len(found)} of "
            f"{len(wanted)} files are missing in {folder}. Pass --text with files or folders of your own."
        )
    return LibraryText(b"".join(found), len(found), differing, len(wanted) - len(found))
