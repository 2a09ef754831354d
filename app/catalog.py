"""The catalog: which files of a folder ropediag can read, and why it cannot read the others.

A name that comes from a browser is looked up in a scan of the folder and never joined to a path.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ropediag.errors import FormatError
from ropediag.store import Summary, is_study, summarize, summarize_study

PARTIAL = ".partial"
FRESH = 0.5  # seconds for which a scan holds: one click asks several times
Stamp = tuple[int, int]


@dataclass(frozen=True)
class Entry:
    """One file of the folder, or the folder of a capture that still grows.

    Attributes
    ----------
    name : relative to the folder, without ``.partial``: what the URL calls it
    path : where it is
    stamp : changes whenever its content does
    kind : see ``schema.KINDS``; empty if it cannot be read
    summary : what is known of it; None if it cannot be read
    reason : why it cannot be read
    """

    name: str
    path: Path
    stamp: Stamp
    kind: str = ""
    summary: Summary | None = None
    reason: str = ""

    @property
    def created(self) -> tuple[str, int]:
        """When the run began, and for those of the same moment when the file was written: sorts by age."""
        return str(self.summary.attributes.get("created", "")) if self.summary else "", self.stamp[0]

    @property
    def begun(self) -> bool:
        """Whether it holds anything to show: of a growing capture, at least one layer."""
        if self.summary is None or not self.is_partial:
            return self.summary is not None
        sizes = self.summary.sizes
        return len(self.summary.missing_layers) < sizes.get("sequence", 0) * sizes.get("layer", 0)

    @property
    def is_partial(self) -> bool:
        return self.path.name.endswith(PARTIAL)


class Catalog:
    """The files of one folder and of the folders in it; what did not change is not read again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._known: dict[str, Entry] = {}
        self._scanned = -FRESH

    def scan(self) -> dict[str, Entry]:
        """List what is there now, by name."""
        if time.monotonic() - self._scanned < FRESH:
            return self._known
        found = {}
        for path in self._candidates():
            name = path.relative_to(self.folder).as_posix().removesuffix(PARTIAL)
            try:
                stamp = take_stamp(path)
            except OSError:  # it went away meanwhile
                continue
            known = self._known.get(name)
            if known is None or known.path != path or known.stamp != stamp:
                known = _read(name, path, stamp)
            if name not in found or not known.is_partial:
                found[name] = known
        self._known, self._scanned = dict(sorted(found.items())), time.monotonic()
        return self._known

    def _candidates(self) -> Iterator[Path]:
        """List the files and partial folders here and one level below; no links that lead elsewhere."""
        for path in _list_folder(self.folder):
            if _is_candidate(path) and self._lies_inside(path):
                yield path
            elif path.is_dir() and not path.name.startswith(".") and self._lies_inside(path):
                yield from (
                    one for one in _list_folder(path) if _is_candidate(one) and self._lies_inside(one)
                )

    def _lies_inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.folder)


def take_stamp(path: Path) -> Stamp:
    """Stamp a file by time and size, a partial folder by its newest unit and their number."""
    if path.is_dir():
        times = [entry.stat().st_mtime_ns for entry in path.iterdir()]
        return max(times, default=0), len(times)
    state = path.stat()
    return state.st_mtime_ns, state.st_size


def _list_folder(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _is_candidate(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return (path.suffix == ".h5" and path.is_file()) or (
        path.name.endswith(".h5" + PARTIAL) and path.is_dir()
    )


def _read(name: str, path: Path, stamp: Stamp) -> Entry:
    try:
        summary = summarize_study(path) if is_study(path) else summarize(path)
    except FormatError as error:
        return Entry(name, path, stamp, reason=str(error).replace(str(path), path.name))
    return Entry(name, path, stamp, str(summary.attributes.get("kind", "capture")), summary)
