"""Shells complete commands and options."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("typed", "completed"), [("ropediag ca", "capture"), ("ropediag study --en", "--engine")]
)
def test_words_are_completed(typed, completed):
    asked = {
        "_ROPEDIAG_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    command = [
        sys.executable,
        "-c",
        "import sys; sys.argv = ['ropediag']; from ropediag.cli import main; main()",
    ]
    done = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [completed]
