"""``ropediag info`` on finished, growing and wrong files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from typer.testing import CliRunner

from ropediag.cli import build_app
from ropediag.cli.info import command
from ropediag.schema import VERSION
from ropediag.store import CaptureWriter
from ropediag.store.seal import seal_file
from tests.store.synthetic import make_attributes, make_header, make_layer, make_loss, write_capture


def run(*arguments):
    return CliRunner().invoke(build_app(), ["info", *map(str, arguments)])


def test_the_table_of_a_study_is_summed_up(tmp_path):
    table = Path(__file__).parents[1] / "studies" / "results" / "turns.h5"
    shown = run(table)
    assert shown.exit_code == 0, shown.output
    assert "status    study, complete" in shown.output
    assert "size      20 models" in shown.output
    assert "columns   " in shown.output
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(table.read_bytes()[:-100])
    assert run(damaged).exit_code == 1


def test_the_command_that_makes_a_file_again_is_shown():
    example = Path(__file__).parents[1] / "captures" / "example-kept-2048.h5"
    made = "ropediag capture --model demo --len 2048 --sequences 1 --rows 8 --keep-qk 1:1 --keep-qk 2:0"
    assert f"command   {made}\n" in run(example).output


@pytest.fixture
def finished(tmp_path):
    return write_capture(tmp_path / "run.h5")


@pytest.fixture
def growing(tmp_path):
    header = make_header(sequences=3, layers=(0, 1, 2, 5))
    with CaptureWriter.create(tmp_path / "run.h5", header, make_attributes()) as writer:
        for place in [(0, 0), (0, 1), (0, 2), (0, 5), (1, 1)]:
            writer.write_layer(*place, make_layer(header, *place))
        writer.write_loss(0, make_loss(0))
    return tmp_path / "run.h5"


def test_a_finished_capture_is_summed_up(finished):
    shown = run(finished)
    assert shown.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in shown.output.splitlines())
    assert f"run.h5 (0.4 MiB, format {VERSION})" in lines["file"]
    assert lines["status"] == "capture, complete, took 2 s"
    assert lines["model"] == "toy, llama, weights abababababab"
    assert lines["lengths"] == "40 tokens, 2 sequences, pretrained at 16"
    assert lines["rope"] == "half layout, base 10,000, 3 pairs, critical pair 1"
    assert lines["size"] == "3 layers, 4 query heads, 2 key heads, 26 lag bins"
    assert lines["versions"] == "ropediag 0.1.0"
    assert lines["/loss"] == "nll, nll_windowed"
    assert "missing" not in lines


@pytest.mark.parametrize("suffix", ["", ".partial"])
def test_a_growing_capture_says_what_is_missing(growing, suffix):
    shown = run(str(growing) + suffix)
    assert "capture, partial" in shown.output
    missing = "layers 0, 2, 5 of sequence 1; layers 0-2, 5 of sequence 2; loss of sequence 1-2"
    assert missing in shown.output


def test_json_holds_everything(finished):
    summary = json.loads(run(finished, "--json").output)
    assert summary["attributes"]["status"] == "complete"
    assert summary["attributes"]["pretrain_base"] is None
    assert summary["sizes"]["pair"] == 3
    assert "scores/mean" in summary["variables"]


def test_json_of_a_growing_capture_lists_the_missing_units(growing):
    summary = json.loads(run(growing, "--json").output)
    assert summary["attributes"]["status"] == "partial"
    assert [1, 0] in summary["missing_layers"]
    assert summary["missing_losses"] == [1, 2]


def test_control_characters_from_a_file_do_not_reach_the_terminal(finished):
    with h5py.File(finished, "r+") as file:
        file.attrs["model"] = "evil\x1b[2J\nmodel"
    seal_file(finished)
    assert "evil?[2J?model" in run(finished).output


def test_what_is_wrong_is_one_line_and_status_2(tmp_path):
    code = "import sys; from ropediag.cli import main; sys.argv[0] = 'ropediag'; main()"
    shown = subprocess.run(
        [sys.executable, "-c", code, "info", tmp_path / "none.h5"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "COLUMNS": "200"},
    )
    assert shown.returncode == 2
    assert shown.stderr.count("\n") == 1
    assert "no such capture" in shown.stderr


def test_info_loads_neither_torch_nor_xarray(finished):
    code = (
        "import sys; from pathlib import Path; from ropediag.cli.info import command;"
        "assert 'h5py' not in sys.modules; command(Path(sys.argv[1]), json=True);"
        "assert not {'torch', 'xarray', 'plotly'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, finished], check=True, cwd=Path(__file__).parents[1])
    assert command.__doc__


def test_a_damaged_file_is_not_summed_up(finished):
    image = bytearray(finished.read_bytes())
    image[len(image) // 2] ^= 4
    finished.write_bytes(image)
    outcome = run(finished)
    assert outcome.exit_code != 0
    assert "is damaged" in str(outcome.exception)


def test_a_growing_capture_is_not_put_together_for_it(growing, monkeypatch):
    monkeypatch.setattr("ropediag.store.reader.consolidate", lambda *given, **options: pytest.fail("it was"))
    assert run(growing).exit_code == 0
