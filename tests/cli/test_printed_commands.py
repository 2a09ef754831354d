"""Every command that the program prints runs as it was printed, from a folder whose name holds a space."""

import re
import shlex

import pytest

from ropediag.cli import demo
from tests.cli.command_line import run

SMALL = ("--steps", "1", "--layers", "1", "--width", "8", "--heads", "1", "--head-dim", "4", "--len", "20")
PRINTING = {
    "demo": ("demo",),
    "capture": ("capture", "--model", "demo", "--len", "300", "--out", "my runs/a b.h5"),
    "evaluate": ("evaluate", "--model", "demo", "--len", "300", "--trials", "0", "--out", "my runs/e.h5"),
    "ablate": ("ablate", "--model", "demo", "--len", "300", "--sequences", "2", "--out", "my runs/c.h5"),
    "pretrain": ("pretrain", "--out", "my runs/made", *SMALL),
    "tune": ("tune", "--model", "demo", "--base", "160000", "--steps", "1", "--out", "my runs/tuned"),
}  # fmt: skip


@pytest.fixture
def ropediag(monkeypatch, capsys, tmp_path):
    """Give a function that runs ``ropediag``, with a short demo, no server and no corpus to read."""
    (tmp_path / "my runs").mkdir()
    (tmp_path / "text.txt").write_text("A line of text, read again and again.\n" * 400)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "LENGTH", 300)
    monkeypatch.setattr("ropediag.app.server.serve", lambda *arguments, **options: None)
    return lambda *words: run(monkeypatch, capsys, *words)


def list_commands(printed):
    return [shlex.split(line)[1:] for line in re.findall(r"^ +(ropediag .*)$", printed, re.MULTILINE)]


@pytest.mark.parametrize("name", PRINTING)
def test_a_printed_command_runs(ropediag, name):
    words = PRINTING[name]
    text = ("--text", "text.txt") if name in ("pretrain", "tune") else ()
    first = ropediag(*words, *text)
    assert first.status == 0, first.err
    commands = list_commands(first.out)
    assert commands
    for command in commands:
        if "--len" in command:  # hours at the length that is advised
            command[command.index("--len") + 1] = "300"
            command += ["--force"]
        done = ropediag(*command)
        assert done.status == 0, (command, done.err)


def test_the_demo_names_what_a_newcomer_wants_next(ropediag):
    named = [command[0] for command in list_commands(ropediag("demo").out)]
    assert named[:3] == ["analyze", "dash", "report"]
