"""What a dry run says: commands, memory and time of every step, with no weights at hand."""

import shlex
from pathlib import Path

import pytest

from ropediag.assets import demo_model
from ropediag.study.config import read_study
from ropediag.study.estimate import estimate_study
from tests.cli.command_line import run

STUDY = """
name: dry
parents: [{name: small, steps: 10, length: 64, head_dim: 32}]
grid:
  - {bases: [1e6], lengths: [128], evaluate_at: 1000}
  - {scaling: [{rule: yarn, factor: 4}], lengths: [512]}
tune: {steps: 7, tokens: 512, text: [%s]}
capture: {length: 2048}
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "dry.yaml"
    path.write_text(STUDY % (tmp_path / "text.txt"), encoding="utf-8")
    return path


def words_of(command: str) -> tuple[list[str], dict[str, str]]:
    words = shlex.split(command)
    return words[:2], dict(zip(words[2::2], words[3::2], strict=True))


def test_a_dry_run_gives_every_command_with_memory_and_time_and_makes_nothing(
    study, monkeypatch, capsys, tmp_path
):
    out = tmp_path / "out"
    said = run(monkeypatch, capsys, "study", study, "--out", out, "--dry-run", "--flops", "1e9")
    assert said.status == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == f"# {tmp_path / 'text.txt'} is not here yet"
    commands = [line for line in lines if line.startswith("ropediag ")]
    kinds = ["pretrain", *["evaluate", "capture", "tune"] * 2, "evaluate", "capture"]
    assert [shlex.split(command)[1] for command in commands] == kinds
    assert words_of(commands[3]) == (
        ["ropediag", "tune"],
        {
            "--model": str(out / "parents" / "small"),
            "--out": str(out / "cells" / "small-b1000000-t128-s0" / "model"),
            "--base": "1000000.0",
            "--len": "128",
            "--steps": "7",
            "--batch": "4",
            "--text": str(tmp_path / "text.txt"),
        },
    )
    assert words_of(commands[4])[1]["--len"] == "1000"
    assert lines[-1].startswith("# dry: 3 cells, about")
    assert lines[-1].endswith("at half of 1.0e+09 operations a second on a device, as --flops says")
    prices = [line for line in lines if line.startswith("#   about")]
    assert len(prices) == len(commands)
    assert all(line.endswith(" GiB") for line in prices)
    assert not out.exists()


def test_every_printed_command_is_one_that_the_command_line_takes(study, monkeypatch, capsys, tmp_path):
    (tmp_path / "text.txt").write_text("text")
    made = []
    for place in ("tune.pretrain.pretrain_model", "tune.tune.tune_model"):
        monkeypatch.setattr(f"ropediag.{place}", lambda config, say: made.append(config) or demo_model())
    for place in ("evaluate.run.evaluate_checkpoint", "capture.capture_checkpoint"):
        monkeypatch.setattr(f"ropediag.{place}", lambda config, say: made.append(config))
    monkeypatch.setattr("ropediag.models.preflight.check_inputs", lambda config, **options: None)
    monkeypatch.setattr("ropediag.models.directory.find_directory", lambda source, **options: None)
    monkeypatch.setattr("ropediag.cli._evaluation.print_evaluation", lambda *found: None)
    monkeypatch.setattr("ropediag.cli._terminal.print_glance", lambda *found: None)
    steps = list(estimate_study(read_study(study), tmp_path / "out"))
    for step in steps:
        run(monkeypatch, capsys, *shlex.split(step.command)[1:])
    assert [str(config.out).split("/")[-1] for config in made] == [
        "small", *["evaluation.h5", "capture.h5", "model"] * 2, "evaluation.h5", "capture.h5"
    ]  # fmt: skip


def test_time_goes_with_speed_and_memory_with_length(study, tmp_path):
    (tmp_path / "text.txt").write_text("text")
    config = read_study(study)
    steps = {(step.cell, step.kind): step for step in estimate_study(config, Path("out"))}
    tune = steps["small-b1000000-t128-s0", "tune"]
    assert tune.seconds(1e9) == 10 * tune.seconds(1e10) > 0
    longer = steps["small-yarn4-t512-s0", "tune"]
    assert longer.operations > tune.operations  # as many tokens, more attention
    short, long = steps["small-b1000000-t128-s0", "evaluate"], steps["small-yarn4-t512-s0", "evaluate"]
    assert "--len 2048" in long.command
    assert long.operations > short.operations


@pytest.mark.parametrize("flops", ["0", "-1", "inf", "nan"])
def test_a_speed_that_is_none_is_refused(study, monkeypatch, capsys, tmp_path, flops):
    said = run(monkeypatch, capsys, "study", study, "--dry-run", "--flops", flops)
    assert said.status == 2
    assert "--flops must be a number above 0" in said.err
