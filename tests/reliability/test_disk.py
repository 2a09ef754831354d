"""Commands on a disk that is full or read-only: one line that says so, and afterwards they go on."""

import shutil

import numpy as np
import pytest

from ropediag.store import open_capture
from ropediag.tune.metadata import hash_weights, read_metadata
from ropediag.tune.pretrain import pretrain_model
from tests.disks import fill_disk, make_read_only, mount_disk
from tests.processes import run_command
from tests.trials import Trials, long_or, only_long
from tests.tune.tiny import tiny_config

ROOM = {"capture": 700, "tune": 900, "evaluate": 60, "study": 400}  # KiB, up to which each is tried


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A model with its text, and a study of it."""
    folder = tmp_path_factory.mktemp("home")
    parent = pretrain_model(tiny_config(folder), say=lambda line: None)
    text = folder / "text.py"
    (folder / "tiny.yaml").write_text(
        f"name: tiny\nparents: ['{parent}']\ngrid: [{{bases: [2000], lengths: 64}}]\n"
        f"tune: {{steps: 3, tokens: 256, text: ['{text}']}}\n"
        f"evaluate: {{sequences: 2, least: 256, reach: 1.5, text: ['{text}']}}\n"
    )
    return folder


@pytest.fixture
def disk(tmp_path):
    with mount_disk(tmp_path / "disk", 4) as place:
        yield place


def words_of(command, home, disk):
    """The words of a command whose result lies on the disk."""
    text = ["--text", str(home / "text.py")]
    if command == "study":
        return ["study", str(home / "tiny.yaml"), "--out", str(disk / "out")]
    model = [command, "--model", str(home / "parent"), *text]
    if command in ("capture", "evaluate"):
        return [*model, "--len", "200", "--out", str(disk / "out.h5")]
    steps = ["--base", "8000", "--steps", "12", "--batch", "4", "--save-every", "4"]
    return [*model, *steps, "--out", str(disk / "out")]


def result_of(command, disk):
    """What a command made, to be compared."""
    if command == "tune":
        assert read_metadata(disk / "out").weights_hash == hash_weights(disk / "out")
        return hash_weights(disk / "out")
    path = disk / "out/cells/parent-b2000-t64-s0/evaluation.h5" if command == "study" else disk / "out.h5"
    with open_capture(path) as capture:
        assert capture.status == "complete"
        return {name: capture.values(name) for name in capture.variables}


@pytest.mark.parametrize("command", ["capture", "evaluate", only_long("tune"), only_long("study")])
def test_a_full_disk_is_said_in_a_line_and_the_rerun_ends_well(home, disk, tmp_path, command):
    words = words_of(command, home, disk)
    again = [*words, "--resume"] if command in ("capture", "tune") else words
    status, said = run_command(words, tmp_path / "said")
    assert status == 0, said
    right, full = result_of(command, disk), 0
    with Trials(f"ropediag {command} on a full disk") as trials:
        for room in np.linspace(4, ROOM[command], long_or(25, 3)).astype(int):
            for path in disk.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            ballast = fill_disk(disk, 1024 * int(room))
            with trials.one():
                status, said = run_command(words, tmp_path / "said")
                ballast.unlink()
                if status:
                    full += 1
                    assert status == 2, said
                    assert "MiB are free" in said.replace("\n", " "), said
                    assert "Traceback" not in said, said
                    status, said = run_command(again, tmp_path / "said")
                    assert status == 0, said
                np.testing.assert_equal(result_of(command, disk), right)
                assert not [path for path in disk.rglob(".*") if path.is_file()]
    assert full > 1


@pytest.mark.parametrize("command", ROOM)
def test_a_read_only_disk_is_said_in_a_line(home, disk, tmp_path, command):
    make_read_only(disk)
    status, said = run_command(words_of(command, home, disk), tmp_path / "said")
    assert status == 2, said
    assert "cannot" in said
    assert str(disk) in said.replace("\n", "")
    assert "Traceback" not in said
