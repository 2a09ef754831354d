"""Trials of one kind: few in the test suite, many in ``make reliability``, which tallies them.

In the suite the first trial that fails fails its test. In the long run all are made, and what was lost is
counted and named at the end.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import pytest

LONG = os.environ.get("ROPEDIAG_LONG") == "1"
TALLY = os.environ.get("ROPEDIAG_TALLY")  # a file that hears of each kind, one JSON line each

Thing = TypeVar("Thing")


def only_long(*values: Any) -> Any:
    """Values of a parametrized test that the suite skips."""
    return pytest.param(*values, marks=pytest.mark.skipif(not LONG, reason="make long"))


def long_or(long: Thing, short: Thing) -> Thing:
    """The first in the long run, the second in the suite."""
    return long if LONG else short


def tell(figures: str) -> None:
    """Say what a run measured; the long run's table ends with it."""
    print(figures)
    if TALLY:
        with Path(TALLY).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"measured": figures}) + "\n")


class Trials:
    """Used as ``with Trials("what is tried") as trials:`` and, for each, ``with trials.one():``."""

    def __init__(self, what: str) -> None:
        self.what, self.tried = what, 0
        self.lost: list[str] = []

    @contextmanager
    def one(self) -> Iterator[None]:
        """One trial; an exception means that something was lost."""
        self.tried += 1
        try:
            yield
        except Exception as error:
            if not LONG:
                raise
            said = f"{type(error).__name__}: {error}"
            self.lost.append(said if len(said) < 600 else f"{said[:200]} ... {said[-300:]}")

    def count(self, tried: int, lost: list[str]) -> None:
        """Trials that were made elsewhere."""
        self.tried += tried
        self.lost += lost

    def __enter__(self) -> "Trials":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        if TALLY:
            line = {"what": self.what, "tried": self.tried, "lost": self.lost}
            with Path(TALLY).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        assert self.tried
        assert not self.lost, f"{len(self.lost)} of {self.tried} lost: {self.lost[:5]}"
