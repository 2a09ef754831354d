"""The catalog: which files of a folder ropediag can read, and why it cannot read the others.

A name that comes from a browser is looked up in a scan of the folder and never joined to a path. A scan
answers at once: of many new files it reads the newest, and those asked for by name; a thread reads the rest.
"""

import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ropediag.analysis.attribution import attribution_path
from ropediag.errors import FormatError
from ropediag.store import Summary, is_study, summarize, summarize_study

PARTIAL = ".partial"
FRESH = 0.5  # seconds for which a scan holds: one click asks several times
AT_ONCE = 16  # new files that one scan reads itself
PACE = 4.0  # seconds for which the state of a growing capture holds: opening it anew takes a part of one
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
    reason : why it cannot be read; empty as well if nobody has tried yet
    """

    name: str
    path: Path
    stamp: Stamp
    kind: str = ""
    summary: Summary | None = None
    reason: str = ""

    @property
    def is_unread(self) -> bool:
        """Whether nobody has looked into it yet."""
        return self.summary is None and not self.reason

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
        """Whether it is the folder of a capture that grows."""
        return self.path.name.endswith(PARTIAL)


class Catalog:
    """The files of one folder and of the folders in it; what did not change is not read again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._known: dict[str, Entry] = {}  # replaced, never changed: others are reading it
        self._scanned = -FRESH
        self._noticed: dict[str, float] = {}  # when the present state of a growing capture was first seen
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None

    def scan(self, wanted: Collection[str] = ()) -> dict[str, Entry]:
        """List what is there now, by name; the files of the names that are wanted have been read."""
        with self._lock:
            if time.monotonic() - self._scanned >= FRESH:
                self._known, self._scanned = self._look(), time.monotonic()
                self._read([entry for entry in _newest_first(self._known) if entry.is_unread][:AT_ONCE])
            known = (self._known.get(name) for name in wanted)
            self._read([entry for entry in known if entry and entry.is_unread])
            unread = any(entry.is_unread for entry in self._known.values())
            if unread and (self._reader is None or not self._reader.is_alive()):
                self._reader = threading.Thread(target=self._read_on, daemon=True)
                self._reader.start()
            return self._known

    def _look(self) -> dict[str, Entry]:
        """List the files; what is known of those that did not change stays."""
        found: dict[str, Entry] = {}
        for path in self._candidates():
            name = path.relative_to(self.folder).as_posix().removesuffix(PARTIAL)
            try:
                entry = Entry(name, path, take_stamp(path))
            except OSError:  # it went away meanwhile
                continue
            known = self._known.get(name)
            if known is not None and known.path == path and self._still_holds(known, entry):
                entry = known
            if name not in found or not entry.is_partial:
                found[name] = entry
        return dict(sorted(found.items()))

    def _still_holds(self, known: Entry, entry: Entry) -> bool:
        """Whether what is known of a file holds: it is as it was, or grows and was looked at just now."""
        now = time.monotonic()
        if known.stamp == entry.stamp:
            return True
        if entry.is_partial and now - self._noticed.get(entry.name, -PACE) < PACE:
            return True
        self._noticed[entry.name] = now
        return False

    def _read(self, entries: list[Entry]) -> None:
        if entries:
            self._known = {**self._known, **{entry.name: _read(entry) for entry in entries}}

    def _read_on(self) -> None:
        """Read what a scan left, until nothing is left."""
        while True:
            left = next((entry for entry in _newest_first(self._known) if entry.is_unread), None)
            if left is None:
                return
            read = _read(left)
            with self._lock:
                if self._known.get(left.name) == left:
                    self._known = {**self._known, left.name: read}

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


def _newest_first(known: dict[str, Entry]) -> list[Entry]:
    return sorted(known.values(), key=lambda entry: entry.stamp[0], reverse=True)


def take_stamp(path: Path) -> Stamp:
    """Stamp a file by time and size, a partial folder by its newest unit and their number.

    The attribution next to a capture counts too, for the verdict reads it.
    """
    if path.is_dir():
        times = [entry.stat().st_mtime_ns for entry in path.iterdir()]
        return max(times, default=0), len(times)
    state, beside = path.stat(), attribution_path(path)
    if beside.exists():
        other = beside.stat()
        return max(state.st_mtime_ns, other.st_mtime_ns), state.st_size + other.st_size
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


def _read(entry: Entry) -> Entry:
    """Fill in what a file holds, or why it cannot be read."""
    try:
        summary = _summarize(entry.path)
    except FormatError as error:
        return replace(entry, reason=str(error).replace(str(entry.path), entry.path.name))
    except OSError as error:
        return replace(entry, reason=f"{entry.path.name} cannot be read: {error.strerror or error}.")
    return replace(entry, kind=str(summary.attributes.get("kind", "capture")), summary=summary)


def _summarize(path: Path) -> Summary:
    try:
        return summarize(path)
    except FormatError:
        if not is_study(path, sealed=False):
            raise
        return summarize_study(path)
