"""``ropediag ablate`` as a user meets it: the table, JSON, the file, and one line where it cannot be."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.store import write_whole
from tests.cli.checkpoints import VOCABULARY, make_checkpoints
from tests.cli.command_line import run as run_command
from tests.cli.test_capture_cli import check_refused, left
from tests.store.synthetic import make_attributes

USUAL = {
    "--len": 100,
    "--tokens": "ids.npy",
    "--train-len": 32,
    "--sequences": 2,
    "--random": 1,
    "--pairs": "past",
}
DEMO = {"tokens": None, "train_len": None, "len": 512, "sequences": 4}
EXAMPLE = Path(__file__).parents[2] / "captures" / "example-8192.h5"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder of checkpoints and inputs, good and bad."""
    folder = tmp_path_factory.mktemp("shelf")
    make_checkpoints(folder)
    np.save(folder / "ids.npy", np.random.default_rng(0).integers(3, VOCABULARY, 400))
    shutil.copytree(folder / "good", folder / "tuned")
    (folder / "tuned" / "ropediag.json").write_text('{"train_len": 16, "tune_len": 48}')
    (folder / "text.h5").write_text("no capture")
    write_whole(
        folder / "evaluation.h5",
        {"sequence": np.arange(1), "position": np.arange(3)},
        {"loss/nll": np.ones((1, 3), "f4")},
        make_attributes(kind="evaluation"),
    )
    return folder


@pytest.fixture
def ablate(shelf, tmp_path, monkeypatch, capsys):
    """Give a function that ablates a checkpoint in an empty folder, with the usual options changed."""
    for entry in shelf.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)

    def ablate(model, *flags, **changes):
        options = USUAL | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
        words = [word for name, value in options.items() if value is not None for word in (name, value)]
        return run_command(monkeypatch, capsys, "ablate", "--model", model, *words, *flags)

    return ablate


def test_the_repair_is_printed_and_the_file_is_described(ablate, monkeypatch, capsys):
    outcome = ablate("demo", **(DEMO | {"len": 256}), pairs="12-16", out="out.h5", search=0.5, trials=1)
    assert outcome.status == 0, outcome.err
    for words in (
        "2 x its training length of 128: clip at 0.85 x the trained reach, 128 tokens",
        "critical pair 11; 1 random sets",
        "pairs 12-16 of layers 0-3, heads 0-1",
        "above random",
        "search: the smallest set found, pairs 1",
        "recall, key-value, untouched to changed",
        "wrote out.h5",
    ):
        assert words in outcome.out
    shown = run_command(monkeypatch, capsys, "info", "out.h5").out
    assert "ablation, complete" in shown
    assert "2 interventions" in shown
    with open_capture("out.h5") as file:
        assert file["ablation/nll"].shape == (2, 4, 256)


def test_json_is_all_that_is_printed(ablate, tmp_path, shelf):
    outcome = ablate("good", "--json", kind="rebase", base=700, heads="0", layers="1", pairs="0,1")
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)
    assert (found["length"], found["sequences"], found["kind"], found["new_base"]) == (100, 2, "rebase", 700)
    assert found["pairs"] == [{"layers": [1], "heads": [0], "pairs": [0, 1]}]
    assert left(tmp_path, shelf) == []


def test_a_model_without_damage_says_so(ablate):
    outcome = ablate("good", sequences=8, len=50)
    assert outcome.status == 0, outcome.err
    assert "no damage" in outcome.out


def test_the_explanation_of_the_table_fits_a_screen(ablate):
    lines = ablate("good", len=50).out.splitlines()
    first, last = (
        next(n for n, line in enumerate(lines) if word in line) for word in ("over all", "above them")
    )
    assert last > first
    assert max(map(len, lines[first : last + 1])) <= 100


def test_log_scaled_attention_needs_no_pairs(ablate):
    outcome = ablate("demo", **DEMO, pairs=None, random=None, kind="log")
    assert outcome.status == 0, outcome.err
    assert "all logits of the chosen heads" in outcome.out


def test_flagged_pairs_are_those_of_the_capture(ablate):
    outcome = ablate("demo", "--json", **DEMO, pairs="flagged", capture=EXAMPLE, layers="0-2")
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)
    pairs = {pair for group in found["pairs"] for pair in group["pairs"]}
    assert pairs
    assert {layer for group in found["pairs"] for layer in group["layers"]} <= {0, 1, 2}
    assert found["repairs"][-1]["repaired"]["value"] > 0.4


def test_a_curve_has_a_row_for_every_multiple_of_the_reach(ablate, monkeypatch, capsys):
    options = DEMO | {"sequences": 2}
    outcome = ablate("demo", **options, kind="fold", at="1.4,1", random=1, pairs="all", out="out.h5")
    check_refused(outcome, "no random set beside all pairs")
    outcome = ablate("demo", **options, kind="fold", at="1.4,1", random=None, pairs="all", out="out.h5")
    assert outcome.status == 0, outcome.err
    assert "fold at 1 to 1.4 x the trained reach, 128 tokens" in outcome.out
    assert "untouched, for training turned them through the whole circle: pairs 0-10 of layers" in outcome.out
    rows = [line.split() for line in outcome.out.splitlines() if line.lstrip().startswith(("1  ", "1.4  "))]
    assert [(row[0], row[1]) for row in rows] == [("1", "4"), ("1.4", "4")]
    first, last = (float(row[3]) for row in rows)
    assert first > 85 > 25 > last
    shown = run_command(monkeypatch, capsys, "info", "out.h5").out
    assert "--kind fold --pairs all --at 1.0,1.4" in shown
    assert "at, lag_limit" in shown
    with open_capture("out.h5") as file:
        found = json.loads(file.attrs["figures"])
        assert file["ablation/at"].values.tolist() == found["at"] == [1.0, 1.4]
        limits = file["ablation/lag_limit"].values
    assert np.isnan(limits[..., :11]).all()
    np.testing.assert_allclose(
        limits[..., 11:], np.array([128.0, 179.2])[:, None, None, None] * np.ones((1, 4, 2, 21))
    )


def test_damage_and_clipping_begin_where_tuning_ended_and_windows_are_those_of_the_longest_phase(ablate):
    """A causal model's loss in windows of 48 is its loss in full at positions below 48, and only there."""
    outcome = ablate("tuned", train_len=None, out="out.h5")
    assert outcome.status == 0, outcome.err
    assert "2.083 x its tuning length of 48: clip at 0.85 x the trained reach, 48 tokens" in outcome.out
    assert "windows of the longest training length, 48 tokens" in " ".join(outcome.out.split())
    with open_capture("out.h5") as file:
        figures = json.loads(file.attrs["figures"])
        full, windowed = (file[f"loss/{name}"].values for name in ("nll", "nll_windowed"))
    assert [(repair["start"], repair["stop"]) for repair in figures["repairs"]] == [(48, 96), (48, 100)]
    assert (figures["limit"], figures["smallest_reach"], figures["largest_reach"]) == (None, 48, 48)
    assert figures["repairs"][0]["damage"]["value"] == pytest.approx((full - windowed)[:, 48:96].mean())
    np.testing.assert_allclose(full[:, 1:48], windowed[:, 1:48], atol=1e-4)
    assert np.abs(full - windowed)[:, 48:].max() > 1e-3
    check_refused(ablate("tuned", train_len=None, len=48), "within the tuning length, 48 tokens")


def test_a_capture_of_another_model_or_precision_flags_nothing(ablate, tmp_path, shelf):
    with open_capture(EXAMPLE) as example:
        known = f"is of demo (weights {example.attrs['weight_fingerprint'][:12]}, float32)"
    outcome = ablate("with-tokenizer", pairs="flagged", capture=EXAMPLE, out="out.h5")
    check_refused(outcome, known, "not of with-tokenizer (weights")
    outcome = ablate("demo", **DEMO, pairs="flagged", capture=EXAMPLE, out="out.h5", dtype="bfloat16")
    check_refused(outcome, known, "not of demo", "bfloat16)")
    assert left(tmp_path, shelf) == []


BAD_CHECKPOINTS = {
    "nowhere": "no model at nowhere",
    "gpt2": "no RoPE",
    "roformer": "attention registry",
    "nan-weights": "not finite",
    "nan-logits": "logits are NaN",
}


@pytest.mark.parametrize("model", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_is_refused_in_one_line(ablate, shelf, tmp_path, model):
    check_refused(ablate(model, out="out.h5"), BAD_CHECKPOINTS[model])
    assert left(tmp_path, shelf) == []


BAD_OPTIONS = {
    "within the training length": ({"len": 32}, "no damage to repair within the training length"),
    "no such pair": ({"pairs": "99"}, "no pair 99"),
    "no such layer": ({"layers": "7"}, "no layer 7"),
    "not a list": ({"pairs": "fast"}, "pairs must be past, before, all, flagged, or indices"),
    "unknown kind": ({"kind": "melt"}, "kind must be one of clip"),
    "no base": ({"kind": "rebase"}, "rebase needs base"),
    "multiples that are no numbers": ({"at": "1,one"}, "at takes multiples of the reach, such as 0.7,0.85,1"),
    "multiples and a limit": ({"at": "1", "limit": "9"}, "give one of them"),
    "limits beyond the text": ({"at": "9"}, "no lag in 100 tokens exceeds the smallest limit"),
    "no such capture": ({"pairs": "flagged", "capture": "gone.h5"}, "cannot read gone.h5"),
    "no capture": ({"pairs": "flagged", "capture": "text.h5"}, "text.h5 is not a whole HDF5 file"),
    "no capture but another file": (
        {"pairs": "flagged", "capture": "evaluation.h5"},
        "evaluation.h5 holds an evaluation, and what is needed is a capture",
    ),
    "a capture for a list": ({"capture": "text.h5"}, "flagged pairs are those of a capture"),
    "random beside all": ({"pairs": "all"}, "no random set"),
    "not the name of a file": ({"out": "out.txt"}, "must be named *.h5"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_a_bad_option_is_refused_in_one_line(ablate, shelf, tmp_path, case):
    changes, said = BAD_OPTIONS[case]
    check_refused(ablate("good", **({"out": "out.h5"} | changes)), said)
    assert left(tmp_path, shelf) == []
