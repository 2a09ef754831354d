"""The tally of a long run: make it, print it, write it into its page.

    python -m tests.reliability TALLY.jsonl --run                       make every trial, half an hour
    python -m tests.reliability TALLY.jsonl                             print what came of it
    python -m tests.reliability TALLY.jsonl --page docs/reliability.md  write that between the page's marks

Ends with status 1 if something was lost, or a test of the run failed.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.record import describe_run

RUN = (
    "tests/reliability",
    "tests/store/test_kill.py",
    "tests/capture/test_kill.py",
    "tests/tune/test_kill.py",
    "tests/app/test_hostile.py",
)


def read_tally(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run_trials(path: Path) -> bool:
    """Make every trial, and tally it after a line about the machine; true if every test passed."""
    path.write_text(json.dumps({"about": describe_run() | {"command": "make reliability"}}) + "\n", "utf-8")
    begun = time.monotonic()
    long = {"ROPEDIAG_LONG": "1", "ROPEDIAG_TALLY": str(path.resolve())}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", *RUN], env=os.environ | long, check=False)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"seconds": round(time.monotonic() - begun)}) + "\n")
    return done.returncode == 0


def write_about(tally: list[dict]) -> str:
    (about,) = (line["about"] for line in tally if "about" in line)
    (seconds,) = (line["seconds"] for line in tally if "seconds" in line)
    took = f"{seconds // 60} min {seconds % 60} s"
    return f"`{about['command']}`, {about['date']}, {about['machine']}, {took}."


def write_trials(tally: list[dict]) -> str:
    rows = ["| what was tried | tried | survived | lost |", "|---|---|---|---|"]
    for line in tally:
        if "what" in line:
            lost = len(line["lost"])
            rows.append(f"| {line['what']} | {line['tried']:,} | {line['tried'] - lost:,} | {lost} |")
    return "\n".join(rows)


def write_measured(tally: list[dict]) -> str:
    return "\n".join(f"- {line['measured']}" for line in tally if "measured" in line)


PARTS = {"about": write_about, "trials": write_trials, "measured": write_measured}


def fill_page(page: str, tally: list[dict]) -> str:
    """The page with each part of the tally between ``<!-- PART -->`` and ``<!-- end of PART -->``."""
    for name, write in PARTS.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        text = f"{begin}\n\n{write(tally)}\n\n{end}"
        page, count = re.subn(f"{begin}.*?{end}", lambda _, text=text: text, page, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"the page has {count} places between {begin} and {end}: one is needed.")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.reliability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tally", type=Path)
    parser.add_argument("--run", action="store_true", help="make the trials first")
    parser.add_argument("--page", type=Path, help="Markdown file to write the tally into")
    options = parser.parse_args()
    passed = run_trials(options.tally) if options.run else True
    tally = read_tally(options.tally)
    if options.page:
        options.page.write_text(fill_page(options.page.read_text(encoding="utf-8"), tally), encoding="utf-8")
    else:
        print("\n\n".join(write(tally) for write in PARTS.values()))
    sys.exit(not passed or any(line.get("lost") for line in tally))


if __name__ == "__main__":
    main()
