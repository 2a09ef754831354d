"""Settings of a run: bad values stop at once, and the recorded command repeats the run."""

import inspect
import shlex
import subprocess
import sys
from dataclasses import fields

import pytest
import typer
from typer.testing import CliRunner

from ropediag.assets import demo_model
from ropediag.cli import pretrain as pretrain_command
from ropediag.errors import ConfigError
from ropediag.tune.config import PretrainConfig


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("layers", 0, "layers must be at least 1: got 0"),
        ("width", 4, "width must be at least 8"),
        ("heads", 0, "heads must be at least 1"),
        ("heads", 3, "width must be a multiple of heads, .*: got 128 channels and 3 heads"),
        ("report_to", ("paper",), "report_to must be one of tensorboard, .*: got 'paper'"),
        ("head_dim", 0, "head_dim must be even and at least 2"),
        ("head_dim", 33, "head_dim must be even and at least 2"),
        ("steps", 0, "steps must be at least 1"),
        ("batch", -1, "batch must be at least 1"),
        ("seed", -1, "seed must be at least 0"),
        ("length", 19, "length must be at least 20 tokens"),
        ("base", 1.0, "base must be a number above 1"),
        ("base", float("nan"), "base must be a number above 1"),
        ("lr", 0.0, "lr must be between 0 and 1"),
        ("recall_share", 1.5, "recall_share must be between 0 and 1"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(tmp_path, field, value, message):
    with pytest.raises(ConfigError, match=message):
        PretrainConfig(out=tmp_path / "new", **{field: value})


def test_a_folder_with_files_is_kept_unless_forced(tmp_path):
    PretrainConfig(out=tmp_path)
    (tmp_path / "thesis.txt").write_text("dear to someone")
    with pytest.raises(ConfigError, match="is not empty"):
        PretrainConfig(out=tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        PretrainConfig(out=tmp_path / "thesis.txt", force=True)
    assert PretrainConfig(out=tmp_path, force=True).force


def test_a_text_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no such text: .*absent"):
        PretrainConfig(out=tmp_path, text=(tmp_path / "absent",))


def test_the_recorded_command_repeats_the_run(tmp_path, monkeypatch):
    (tmp_path / "my text").mkdir()
    config = PretrainConfig(
        out=tmp_path / "o", text=(tmp_path / "my text",), base=5e5, lr=1e-3, recall_share=0.25
    )
    made = []
    monkeypatch.setattr(
        "ropediag.tune.pretrain.pretrain_model", lambda config, say: made.append(config) or demo_model()
    )
    app = typer.Typer()
    app.command()(pretrain_command.command)
    result = CliRunner().invoke(app, shlex.split(config.command_line())[2:])
    assert result.exit_code == 0, result.output
    assert made == [config]


def test_the_defaults_need_no_flags_to_repeat(tmp_path):
    assert PretrainConfig(out=tmp_path / "x").command_line() == f"ropediag pretrain --out {tmp_path / 'x'}"


def test_the_command_offers_every_setting_with_its_default():
    flags = inspect.signature(pretrain_command.command).parameters
    settings = {field.name: field.default for field in fields(PretrainConfig)}
    assert set(flags) == set(settings)
    for name in set(settings) - {"out", "text", "report_to"}:
        assert flags[name].default == settings[name], name


@pytest.mark.parametrize(("width", "expected"), [(128, 352), (256, 704), (64, 176), (8, 24)])
def test_the_feed_forward_part_is_2_75_times_the_width(tmp_path, width, expected):
    assert PretrainConfig(out=tmp_path, width=width).feed_forward == expected


def test_checking_settings_loads_no_torch():
    code = "import sys, ropediag.tune.config; sys.exit(bool({'torch', 'transformers'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
