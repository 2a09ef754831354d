"""``ropediag capture`` as a user meets it: what it says, what it leaves, how it ends."""

import shutil
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
import torch

from ropediag import open_capture
from ropediag.assets import demo_model
from ropediag.capture import places, run
from tests.cli.checkpoints import VOCABULARY, make_checkpoints
from tests.cli.command_line import Outcome
from tests.cli.command_line import run as run_command

USUAL = {"--len": 100, "--tokens": "ids.npy", "--train-len": 32, "--rows": 4, "--out": "out.h5"}
DiskUsage = namedtuple("DiskUsage", "total used free")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder of checkpoints and inputs, good and bad."""
    folder = tmp_path_factory.mktemp("shelf")
    make_checkpoints(folder)
    random = np.random.default_rng(0)
    np.save(folder / "ids.npy", random.integers(3, VOCABULARY, 400))
    np.save(folder / "foreign.npy", np.full(400, VOCABULARY))
    np.save(folder / "few.npy", np.arange(20))
    np.save(folder / "late.npy", np.where(np.arange(400) == 80, 7, 9))
    (folder / "short.txt").write_text("eleven byte")
    (folder / "long.txt").write_text("A line of text, told again and again.\n" * 20)
    (folder / "file").write_text("no folder")
    return folder


@pytest.fixture
def capture(shelf, tmp_path, monkeypatch, capsys):
    """Give a function that captures a checkpoint in an empty folder, with the usual options changed."""
    for entry in shelf.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)

    def capture(model, *flags, **changes):
        options = USUAL | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
        words = [word for name, value in options.items() if value is not None for word in (name, value)]
        return run_command(monkeypatch, capsys, "capture", "--model", model, *words, *flags)

    return capture


def left(folder, shelf):
    """What a command left behind."""
    return sorted({path.name for path in folder.iterdir()} - {path.name for path in shelf.iterdir()})


def check_refused(outcome: Outcome, *said):
    assert outcome.status == 2
    assert outcome.err.startswith("ropediag: ")
    assert outcome.err.count("\n") == 1
    assert "Traceback" not in outcome.err + outcome.out
    for words in said:
        assert words in outcome.err


BAD_CHECKPOINTS = {
    "nowhere": ["no model at nowhere", "checkpoint directory"],
    "org/nowhere": ["cannot load org/nowhere: no such folder", "not in the local cache"],
    "file": ["file is a file", "config.json"],
    "empty": ["holds no config.json"],
    "no-json": ["no-json/config.json is not JSON"],
    "no-weights": ["no-weights holds no weights"],
    "missing-tensor": ["do not fit its config", "misses model.layers.1.mlp.up_proj.weight"],
    "wrong-shape": ["do not fit its config", "other shapes for model.layers.1.mlp.up_proj.weight"],
    "pickled": ["pickle", "--allow-pickle"],
    "truncated": ["cannot load truncated", "deserializing header"],
    "garbled": ["cannot load garbled", "deserializing header"],
    "gpt2": ["no RoPE", "'gpt2'"],
    "roformer": ["roformer cannot be captured", "attention registry"],
    "odd-head": ["odd-head, layer 0: rotary_dim must be a positive even number", "got 7"],
    "odd-rotary": ["odd-rotary, layer 0: rotary_dim must be a positive even number", "got 5"],
    "too-wide-rotary": ["partial_rotary_factor in the scaling rule must be a number above 0 and at most 1"],
    "nan-weights": ["not finite", "model.layers.0.mlp.down_proj.weight"],
    "nan-attention": ["layer 1", "NaN"],
    "nan-logits": ["the logits of llama are NaN"],
    "silent-layer": ["layer 1", "all queries and keys are zero"],
}


@pytest.mark.parametrize("model", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_is_refused_in_one_line(capture, shelf, tmp_path, model):
    check_refused(capture(model), *BAD_CHECKPOINTS[model])
    assert left(tmp_path, shelf) == []


def test_nan_that_comes_in_late_is_named_with_its_layer(capture, shelf, tmp_path):
    check_refused(capture("late-nan", tokens="late.npy"), "layer 0: its attention output is the first")
    assert left(tmp_path, shelf) == []


BAD_OPTIONS = {
    "length of one": ("good", {"len": 1}, ["length must be at least 2", "got 1"]),
    "length below zero": ("good", {"len": -5}, ["length must be at least 2", "got -5"]),
    "no rows": ("good", {"rows": 0}, ["rows must be at least 1"]),
    "no sequences": ("good", {"sequences": 0}, ["sequences must be at least 1"]),
    "a seed no file holds": ("good", {"seed": 2**63}, ["seed must be below 2^63"]),
    "training length of one": ("good", {"train_len": 1}, ["train_len must be at least 2"]),
    "phases and a length": (
        "good",
        {"phase": "len=64"},
        ["--phase states the whole training: leave out --train-len"],
    ),
    "base of pretraining": ("good", {"pretrain_base": "inf"}, ["pretrain_base must be above 1 and finite"]),
    "unknown layer": ("good", {"layers": "0,7"}, ["no layer 7", "0 to 1"]),
    "unknown head": ("good", {"heads": "3"}, ["no head 3", "0 to 2"]),
    "falling range": ("good", {"layers": "1-0"}, ["such as 0,2,5-7", "'1-0'"]),
    "open range": ("good", {"layers": "1-"}, ["such as 0,2,5-7", "'1-'"]),
    "endless range": ("good", {"heads": "0-99999999999"}, ["such as 0,2,5-7"]),
    "no number": ("good", {"heads": "²"}, ["such as 0,2,5-7", "'²'"]),
    "no layers": ("good", {"layers": ""}, ["such as 0,2,5-7"]),
    "kept without heads": ("good", {"keep_qk": "0"}, ["LAYERS:HEADS", "'0'"]),
    "kept but not there": ("good", {"keep_qk": "5:0"}, ["no layer 5"]),
    "kept but not captured": ("good", {"keep_qk": "0:0", "layers": "1"}, ["layer 0, head 0"]),
    "no tokenizer": ("good", {"tokens": None}, ["good has no tokenizer", "--tokens"]),
    "foreign tokens": ("good", {"tokens": "foreign.npy"}, ["0 .. 60", "got 61 .. 61"]),
    "few tokens": ("good", {"tokens": "few.npy"}, ["few.npy holds 20 tokens", "1 x 100"]),
    "tokens that are none": ("good", {"tokens": "file"}, ["file is not a .npy file of token ids"]),
    "no such tokens": ("good", {"tokens": "gone.npy"}, ["cannot read gone.npy"]),
    "no such text": ("with-tokenizer", {"tokens": None, "text": "gone.txt"}, ["cannot read gone.txt"]),
    "short text": ("with-tokenizer", {"tokens": None, "text": "short.txt"}, ["the text has 11 tokens"]),
    "text and tokens": ("good", {"text": "long.txt"}, ["text or tokens, not both"]),
    "not a capture's name": ("good", {"out": "out.txt"}, ["must be named *.h5", "out.txt"]),
    "below a file": ("good", {"out": "file/out.h5"}, ["cannot write file/out.h5", "not a folder"]),
    "deep below a file": ("good", {"out": "file/a/out.h5"}, ["cannot write file/a/out.h5"]),
    "unknown device": ("good", {"device": "abacus"}, ["device must be auto, cpu, cuda", "got 'abacus'"]),
    "unknown dtype": ("good", {"dtype": "int3"}, ["dtype must be auto, float32", "got int3"]),
    "unknown attention": ("good", {"attn": "glance"}, ["cannot load good", "glance"]),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_a_bad_option_is_refused_in_one_line(capture, shelf, tmp_path, case):
    model, changes, said = BAD_OPTIONS[case]
    check_refused(capture(model, **changes), *said)
    assert left(tmp_path, shelf) == []


def test_force_and_resume_together_are_refused(capture):
    check_refused(capture("good", "--force", "--resume"), "force (begin anew) or resume (go on), not both")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device here")
def test_a_device_that_is_not_there_is_refused_before_weights_are_read(capture, monkeypatch):
    monkeypatch.setattr("ropediag.models.load._read_weights", forbidden)
    check_refused(capture("good", device="cuda"), "cannot use device cuda")


def forbidden(*_, **__):
    raise AssertionError("this is too early")


@pytest.mark.parametrize("changes", [{"len": None}, {"len": "many"}, {"rows": "4.5"}])
def test_an_option_that_is_missing_or_no_number_ends_with_status_2(capture, shelf, tmp_path, changes):
    outcome = capture("good", **changes)
    assert outcome.status == 2
    assert f"--{next(iter(changes))}" in outcome.err
    assert left(tmp_path, shelf) == []


@pytest.mark.parametrize("name", ["out.h5", "out.h5.partial"])
def test_an_output_that_exists_is_refused_before_the_model_is_loaded(capture, monkeypatch, tmp_path, name):
    (tmp_path / name).write_text("dear to me")
    monkeypatch.setattr(run, "load_model", forbidden)
    check_refused(capture("good"), f"{name} exists", "--force", "--resume")
    assert (tmp_path / name).read_text() == "dear to me"


def test_force_replaces_a_capture_and_resume_accepts_the_finished_one(capture, shelf, tmp_path):
    assert capture("good", len=20).status == 0
    written = (tmp_path / "out.h5").read_bytes()
    check_refused(capture("good", "--resume", len=21), "out.h5 was begun with another")
    assert capture("good", "--resume", len=20).status == 0
    assert (tmp_path / "out.h5").read_bytes() == written
    assert capture("good", "--force", len=21).status == 0
    with open_capture("out.h5") as found:
        assert found.attrs["length"] == 21
    assert left(tmp_path, shelf) == ["out.h5"]


def test_too_little_room_on_the_disk_is_found_before_the_run(capture, monkeypatch, shelf, tmp_path):
    monkeypatch.setattr(places.shutil, "disk_usage", lambda _: DiskUsage(2**30, 2**30, 2**16))
    monkeypatch.setattr(run, "_capture_sequence", forbidden)
    check_refused(capture("good"), f"too little room in {tmp_path}", "0 MiB are free")
    assert left(tmp_path, shelf) == []


def test_too_little_memory_is_found_before_the_run(capture, monkeypatch, shelf, tmp_path):
    monkeypatch.setattr(places, "available_memory", lambda _: 2**20)
    monkeypatch.setattr(run, "_capture_sequence", forbidden)
    check_refused(capture("good"), "of memory beside the model", "0.0 GiB are free", "no length would fit")
    assert left(tmp_path, shelf) == []


def test_a_capture_says_what_it_needs_and_what_it_found(capture, shelf, tmp_path):
    outcome = capture("good", len=200, train_len=64, rows=8)
    assert outcome.status == 0
    assert outcome.err.splitlines()[-1] == "3 of 3: sequence 0, loss"
    for words in (
        "good: 2 layers x 3 heads x 8 pairs, 1 x 200 tokens",
        "needs about",
        "good at 200 tokens, 3.12 x its training length",
        "trained: 64 tokens, pretraining (from --train-len)",
        "measured  the excess loss stays below",
        "theory    critical pair 3 (dimension 6); predicted limit 64 tokens; first reach 64 tokens",
        "wrote out.h5",
    ):
        assert words in outcome.out, words
    assert left(tmp_path, shelf) == ["out.h5"]
    with open_capture("out.h5") as found:
        assert found.status == "complete"
        assert found.sizes["row"] == 8
        assert (found["tokens/input_ids"].values == np.load("ids.npy")[:200]).all()


def test_a_dry_run_says_what_it_needs_and_writes_nothing(capture, shelf, tmp_path):
    outcome = capture("good", "--dry-run")
    assert outcome.status == 0
    assert "needs about" in outcome.out
    assert left(tmp_path, shelf) == []


def test_what_is_asked_for_is_captured_and_nothing_else(capture):
    flags = ("--no-excess", "--no-tokens")
    outcome = capture("good", *flags, keep_qk="1:1", sequences=2, layers="1", heads="0-1")
    assert outcome.status == 0
    assert "no windowed loss in this capture" in outcome.out
    with open_capture("out.h5") as found:
        assert found["scores/mean"].layer.values.tolist() == [1]
        assert found["scores/mean"].query_head.values.tolist() == [0, 1]
        assert found["loss/nll"].shape == (2, 100)
        assert found["samples/kept_query"].shape == (2, 1, 100, 16)
        assert found["samples/kept_head"].values.tolist() == [1]
        assert "loss/nll_windowed" not in found
        assert "tokens" not in found.groups


def test_pickled_weights_are_read_when_trusted(capture):
    assert capture("pickled", "--allow-pickle", len=20).status == 0


def test_text_is_tokenized_and_kept_for_reading(capture, monkeypatch, tmp_path):
    assert capture("with-tokenizer", tokens=None, text="long.txt", out=None, len=30).status == 0
    with open_capture(tmp_path / "captures" / "with-tokenizer-30.h5") as found:
        text = "".join(found["tokens/piece"].sel(token=found["tokens/input_ids"][0]).values)
    assert text in (tmp_path / "long.txt").read_text()


def test_names_with_brackets_are_printed_as_they_are(capture, tmp_path):
    shutil.copytree(tmp_path / "good", tmp_path / "tuned[red]")
    outcome = capture("tuned[red]", out="out[2].h5", len=10)
    assert "tuned[red]: 2 layers" in outcome.out
    assert "wrote out[2].h5" in outcome.out
    assert (tmp_path / "out[2].h5").is_file()


@pytest.mark.parametrize("length", [2, 3])
def test_the_shortest_lengths_are_captured(capture, length):
    assert capture("good", len=length).status == 0


@pytest.mark.skipif(not (demo_model() / "model.safetensors").is_file(), reason="no bundled model here")
def test_the_bundled_model_needs_no_training_length_and_no_text(capture, tmp_path):
    outcome = capture("demo", tokens=None, train_len=None, out=None, len=300, layers="0", heads="0")
    assert outcome.status == 0
    assert "(from ropediag.json)" in outcome.out
    assert (tmp_path / "captures" / "demo-300.h5").is_file()


def test_the_process_itself_ends_with_one_line_and_status_2(shelf):
    """Nothing that logs, warns or prints by itself gets between."""
    words = [word for name, value in USUAL.items() for word in (name, str(value))]
    command = [sys.executable, "-c", "from ropediag.cli import main; main()", "capture", *words]
    done = subprocess.run(
        [*command, "--model", "nan-attention"],
        cwd=shelf,
        capture_output=True,
        text=True,
    )
    check_refused(Outcome(done.returncode, done.stdout, done.stderr), "layer 1: its attention output")
    assert not (shelf / "out.h5").exists()


def test_an_interrupted_command_ends_with_status_130_and_no_traceback(capture, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "load_model", interrupt)
    outcome = capture("good")
    assert outcome.status == 130
    assert "Traceback" not in outcome.err
