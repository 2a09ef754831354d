"""Run the real command line in this process, and keep what it says."""

import sys
from dataclasses import dataclass

from ropediag.cli import main


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str


def run(monkeypatch, capsys, *arguments):
    """Call ``main`` as the console script does, with these words after ``ropediag``."""
    monkeypatch.setattr(sys, "argv", ["ropediag", *map(str, arguments)])
    capsys.readouterr()
    try:
        main()
        status = 0
    except SystemExit as ended:
        status = ended.code or 0
    said = capsys.readouterr()
    return Outcome(status, said.out, said.err)
