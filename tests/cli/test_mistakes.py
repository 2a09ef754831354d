"""Mistakes at the command line get the answers that ``mistakes.txt`` shows."""

import subprocess
import sys

from tests.cli.mistakes import MISTAKES, ROOT, SNAPSHOT

HELD = SNAPSHOT.read_text(encoding="utf-8")


def test_every_mistake_is_answered_as_the_snapshot_shows(tmp_path):
    program = "from tests.cli.mistakes import write_answers; print(write_answers(), end='')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == HELD


def test_every_mistake_is_refused_with_status_2_and_no_traceback():
    blocks = HELD.split("\n\n$ ")
    assert len(blocks) == len(MISTAKES) >= 40
    for block in blocks:
        assert block.strip().endswith("[2]"), block
    for words in ("Traceback", "did not foresee", "TypeError", "pydantic"):
        assert words not in HELD
