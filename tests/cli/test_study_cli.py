"""``ropediag study`` without running anything."""

import shlex

from tests.cli.command_line import run

STUDY = """
name: two
parents: [demo]
grid:
  - {bases: [1e6, 500], lengths: [128]}
tune: {steps: 7, tokens: 512}
"""


def test_a_dry_run_gives_the_command_of_every_cell_and_makes_nothing(monkeypatch, capsys, tmp_path):
    study = tmp_path / "two.yaml"
    study.write_text(STUDY, encoding="utf-8")
    out = tmp_path / "out"
    outcome = run(monkeypatch, capsys, "study", study, "--out", out, "--seeds", 2, "--dry-run")
    assert outcome.status == 0
    commands = [line for line in outcome.out.splitlines() if line.startswith("ropediag tune")]
    assert len(commands) == 4
    words = shlex.split(commands[3])
    assert dict(zip(words[2::2], words[3::2], strict=True)) == {
        "--model": "demo",
        "--out": str(out / "cells" / "demo-b500-t128-s1" / "model"),
        "--base": "500.0",
        "--len": "128",
        "--steps": "7",
        "--batch": "4",
        "--seed": "1",
    }
    assert "measured here, 1 CPU threads" in outcome.out.splitlines()[-1]
    assert not out.exists()


def test_a_study_that_is_not_there_is_named(monkeypatch, capsys, tmp_path):
    outcome = run(monkeypatch, capsys, "study", tmp_path / "none.yaml", "--dry-run")
    assert outcome.status == 2
    assert outcome.err == (
        f"ropediag: cannot read the study {tmp_path / 'none.yaml'}: No such file or directory.\n"
    )
