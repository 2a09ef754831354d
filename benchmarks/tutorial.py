"""How long the commands of the README and of the tutorial take, and what they print.

    python benchmarks/tutorial.py --out benchmarks/results/tutorial.json

Time is that of the processor, with one thread: two free cores take less, and what other programs take is left
out. Runs the fenced shell commands of each page in their order, each page in an empty folder. What sets up,
serves until it is stopped, wants a file of yours, trains a model from the start or many models is left out, and
listed with the reason; ``make demo`` is the command that it ends with.
"""

import argparse
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from apart import run_measured
from record import describe_run, write_results

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/tutorial.md")
LEFT_OUT = {  # what a command begins with or names -> why it is not run
    r"path/to|PATH|FILE|YOUR": "a placeholder",
    r"^make (?!demo)|^pip |^\. ": "sets up or tests",
    r"^ropediag dash ": "serves until it is stopped",
    r"^ropediag (study|pretrain) ": "trains from the start, or many models",
}


def read_commands(page: str) -> list[str]:
    """The fenced shell commands of a page, in its order; ``make demo`` as what it runs once all is installed."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    return ["ropediag demo" if line.startswith("make demo") else line for line in lines]


def why_left_out(command: str) -> str | None:
    """The reason why a command is not run; None for one that is."""
    return next((reason for mark, reason in LEFT_OUT.items() if re.search(mark, command)), None)


def run(command: str, folder: Path) -> dict[str, Any]:
    """Run a command of ropediag in a folder: its seconds of the processor, and the lines that it prints.

    Raises
    ------
    RuntimeError
        If it fails; ``--fail-on`` ends with status 3 where it finds what it names.
    """
    program, *arguments = shlex.split(command)
    if program != "ropediag":
        raise RuntimeError(f"{command!r} is no command of ropediag: name it in LEFT_OUT.")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as printed:
        figures = run_measured(
            [sys.executable, "-m", "ropediag", *arguments],
            allowed=(0, 3) if "--fail-on" in arguments else (0,),
            stdout=printed,
            cwd=folder,
            env=environment,
        )
        printed.seek(0)
        lines = [line.rstrip() for line in printed.read().splitlines()]
    print(
        f"{figures['processor']:7.1f} s of the processor, {figures['seconds']:7.1f} s  {command}", flush=True
    )
    return {name: round(figures[name], 2) for name in ("processor", "seconds")} | {"prints": lines}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="JSON file for times and prints")
    options = parser.parse_args()
    about, found = describe_run(threads=1), {}
    for page in PAGES:
        commands = read_commands(page)
        with tempfile.TemporaryDirectory() as folder:
            ran = {one: run(one, Path(folder)) for one in commands if why_left_out(one) is None}
        left = {one: reason for one in commands if (reason := why_left_out(one))}
        found[page] = {"commands": ran, "left out": left}
    if options.out:
        write_results(options.out, about, {"pages": found})


if __name__ == "__main__":
    main()
