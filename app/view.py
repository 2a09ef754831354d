"""The view: what a reader looks at, as panels need it: the open capture, the chosen pair, results kept.

A ``Desk`` belongs to the server and holds what is shared between readers; a ``View`` is one selection on it.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ropediag.analysis.drift import measure_drift
from ropediag.errors import ConfigError, FormatError
from ropediag.store import Capture, open_capture

from .catalog import Catalog, Entry
from .memo import MEGABYTE, Memo, count_bytes

KEPT = 256 * MEGABYTE  # of results
OPEN = 12  # captures; a file that is given up closes when nothing reads it any more
SEPARATOR = "//"  # of files in one field of the URL; no name has it, in a subfolder neither
PLACE = ("layer", "query_head", "pair")


class Desk:
    """What all views share: the folder, open captures, and results that were computed."""

    def __init__(self, folder: Path) -> None:
        self.catalog = Catalog(folder)
        self._results = Memo(KEPT, count_bytes)
        self._open = Memo(OPEN, lambda capture: 1)

    def entries(self, *kinds: str) -> dict[str, Entry]:
        """List the readable files of these kinds, by name; of many new ones not all at first."""
        return {name: entry for name, entry in self.catalog.scan().items() if entry.kind in kinds}

    def open(self, entry: Entry) -> Capture:
        """Open a file, or give the one that is open already; what it was before it changed is given up."""

        def make() -> Capture:
            for memo in (self._open, self._results):
                memo.drop(lambda key: key[0] == entry.name and key[1] != entry.stamp)
            return open_capture(entry.path)

        return self._open.get((entry.name, entry.stamp), make)

    def keep(self, entry: Entry, key: Hashable, make: Callable[[], Any]) -> Any:
        """Give a result that belongs to the present content of a file."""
        return self._results.get((entry.name, entry.stamp, key), make)

    def view(self, selection: Mapping[str, str]) -> "View":
        """Look at a selection; the files that it names are read, however many others wait."""
        self.catalog.scan([name for value in selection.values() for name in value.split(SEPARATOR)])
        return View(self, dict(selection))


@dataclass(frozen=True)
class View:
    """One selection: the fields of the URL, and what they select.

    Attributes
    ----------
    desk : what all views share
    selection : field -> value, both text, as in the URL
    """

    desk: Desk
    selection: dict[str, str]

    def get(self, field: str, default: str = "") -> str:
        """Give a field of the URL."""
        return self.selection.get(field, default)

    @cached_property
    def entry(self) -> Entry:
        """The selected capture's entry; without one in the URL the newest capture.

        Raises
        ------
        ConfigError
            If the folder holds no capture.
        """
        captures = self.desk.entries("capture")
        if not captures:
            raise ConfigError(
                f"{self.desk.catalog.folder.name}/ holds no capture yet. Make one: "
                "ropediag capture --model demo --len 8192"
            )
        name = self.get("capture")
        return (
            captures[name]
            if name in captures
            else max(captures.values(), key=lambda one: (one.begun, one.created))
        )

    @property
    def capture(self) -> Capture:
        """The selected capture, open.

        Raises
        ------
        ConfigError
            If no layer of it is finished yet.
        """
        if not self.entry.begun:
            raise ConfigError(f"{self.entry.name} has no finished layer yet; this page follows as they come.")
        return self.desk.open(self.entry)

    @cached_property
    def place(self) -> dict[str, int]:
        """Give layer, query_head and pair: the selected ones, else where the drift is largest."""
        capture, place = self.capture, {}
        for axis in PLACE:
            wanted, held = self.get(axis), capture.values(axis).tolist()
            if wanted.isdecimal() and int(wanted) in held:
                place[axis] = int(wanted)
        return place if len(place) == len(PLACE) else self._worst(place)

    def _worst(self, place: dict[str, int]) -> dict[str, int]:
        """Fill in what is missing of a place by the largest drift there, else by the first one."""
        try:
            drift = self.measure(measure_drift).drift.sel(place)
        except ConfigError:  # a capture that does not state its training length
            return {axis: place.get(axis, int(self.capture.values(axis)[0])) for axis in PLACE}
        values = np.where(np.isfinite(drift.values), drift.values, -1.0)
        index = np.unravel_index(int(values.argmax()), values.shape)
        found = {str(axis): int(drift[axis][step]) for axis, step in zip(drift.dims, index, strict=True)}
        return {axis: (place | found)[axis] for axis in PLACE}

    @property
    def layer(self) -> int:
        """The chosen layer."""
        return self.place["layer"]

    @property
    def query_head(self) -> int:
        """The chosen query head."""
        return self.place["query_head"]

    @property
    def pair(self) -> int:
        """The chosen pair."""
        return self.place["pair"]

    def measure(self, function: Callable[..., Any], **options: Hashable) -> Any:
        """Call ``function(capture, **options)`` once for each content of the file, and keep what it gave."""

        def make() -> Any:
            found = function(self.capture, **options)
            return found.load() if hasattr(found, "load") else found

        name = getattr(function, "name", None) or f"{function.__module__}.{function.__qualname__}"
        return self.desk.keep(self.entry, (name, tuple(sorted(options.items()))), make)

    def keep(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Give what ``make`` returns, kept for this capture under a key."""
        return self.desk.keep(self.entry, key, make)

    def of(self, name: str) -> "View":
        """The same selection on another capture.

        Raises
        ------
        FormatError
            If the folder holds no such capture.
        """
        if name not in self.desk.entries("capture"):
            raise FormatError(f"{name} is no capture in {self.desk.catalog.folder.name}/.")
        return View(self.desk, {**self.selection, "capture": name})
