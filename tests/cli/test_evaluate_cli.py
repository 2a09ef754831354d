"""``ropediag evaluate`` as a user meets it: tables, JSON, the file, and one line where it cannot be."""

import json

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.evaluate import harness
from tests.cli.checkpoints import VOCABULARY, make_checkpoints
from tests.cli.command_line import run as run_command
from tests.cli.test_capture_cli import check_refused, left

USUAL = {"--len": 100, "--tokens": "ids.npy", "--train-len": 32}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder of checkpoints and inputs, good and bad."""
    folder = tmp_path_factory.mktemp("shelf")
    make_checkpoints(folder)
    np.save(folder / "ids.npy", np.random.default_rng(0).integers(3, VOCABULARY, 400))
    np.save(folder / "foreign.npy", np.full(400, VOCABULARY))
    (folder / "short.txt").write_text("eleven byte")
    (folder / "long.txt").write_text("A line of text, told again and again.\n" * 20)
    (folder / "file").write_text("no folder")
    return folder


@pytest.fixture
def evaluate(shelf, tmp_path, monkeypatch, capsys):
    """Give a function that evaluates a checkpoint in an empty folder, with the usual options changed."""
    for entry in shelf.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)

    def evaluate(model, *flags, **changes):
        options = USUAL | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
        words = [word for name, value in options.items() if value is not None for word in (name, value)]
        return run_command(monkeypatch, capsys, "evaluate", "--model", model, *words, *flags)

    return evaluate


def test_figures_are_printed_and_the_file_is_described(evaluate, monkeypatch, capsys):
    text = {"tokens": None, "text": "long.txt", "len": 200, "trials": 1}
    outcome = evaluate("with-tokenizer", out="out.h5", parent="with-tokenizer", **text)
    assert outcome.status == 0, outcome.err
    for words in ("predicted limit", "measured limit", "perplexity, one pass",
                  "perplexity, sliding", "key tokens", "short context", "recall, key-value",
                  "95 % interval", "wrote out.h5"):  # fmt: skip
        assert words in outcome.out
    shown = run_command(monkeypatch, capsys, "info", "out.h5").out
    assert "evaluation, complete" in shown
    assert "1 recall tasks, 4 recall lengths, 5 depths" in shown
    with open_capture("out.h5") as file:
        assert file["loss/nll"].shape == (1, 200)
        assert file["recall/hits"].length.values.tolist() == [32, 64, 128, 200]


def test_json_is_all_that_is_printed(evaluate, tmp_path, shelf):
    outcome = evaluate("good", "--json", "--log-attention", sequences=2)
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)
    assert (found["length"], found["sequences"], found["train_len"]) == (100, 2, 32)
    assert found["log_attention"]
    assert found["recall"] == []
    assert left(tmp_path, shelf) == []


BAD_CHECKPOINTS = {
    "nowhere": "no model at nowhere",
    "no-weights": "no-weights holds no weights",
    "gpt2": "no RoPE",
    "too-wide-rotary": "partial_rotary_factor in the scaling rule must be a number above 0 and at most 1",
    "nan-weights": "not finite",
    "nan-attention": "logits are NaN",
    "nan-logits": "logits are NaN",
}


@pytest.mark.parametrize("model", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_is_refused_in_one_line(evaluate, shelf, tmp_path, model):
    check_refused(evaluate(model, out="out.h5"), BAD_CHECKPOINTS[model])
    assert left(tmp_path, shelf) == []


BAD_OPTIONS = {
    "length of one": ("good", {"len": 1}, "length must be at least 2"),
    "negative trials": ("good", {"trials": -1}, "trials must be at least 0"),
    "stride of a window": ("good", {"window": 8, "stride": 8}, "stride must be below the window, 8 tokens"),
    "stride of the training length": ("good", {"stride": 32}, "stride must be below the window, 32 tokens"),
    "phases and a length": ("good", {"phase": "len=64"}, "leave out --train-len"),
    "no tokenizer": ("good", {"tokens": None}, "good has no tokenizer"),
    "foreign tokens": ("good", {"tokens": "foreign.npy"}, "0 .. 60"),
    "no such tokens": ("good", {"tokens": "gone.npy"}, "cannot read gone.npy"),
    "short text": ("with-tokenizer", {"tokens": None, "text": "short.txt"}, "the text has 11 tokens"),
    "not the name of a file": ("good", {"out": "out.txt"}, "must be named *.h5"),
    "below a file": ("good", {"out": "file/out.h5"}, "cannot write file/out.h5"),
    "no such parent": ("good", {"parent": "nowhere"}, "no model at nowhere"),
    "a stranger as parent": ("good", {"parent": "with-tokenizer"}, "their vocabularies differ"),
    "a parent without RoPE": ("good", {"parent": "gpt2"}, "no RoPE"),
    "unknown dtype": ("good", {"dtype": "int3"}, "dtype must be auto"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_a_bad_option_is_refused_in_one_line(evaluate, shelf, tmp_path, case):
    model, changes, said = BAD_OPTIONS[case]
    check_refused(evaluate(model, **({"out": "out.h5"} | changes)), said)
    assert left(tmp_path, shelf) == []


def test_attention_that_cannot_be_tapped_is_refused_only_where_it_must_be(evaluate):
    assert evaluate("roformer").status == 0
    check_refused(evaluate("roformer", "--log-attention"), "attention registry")


def test_tasks_without_the_harness_are_refused(evaluate, monkeypatch):
    monkeypatch.setattr(harness.importlib.util, "find_spec", lambda name: None)
    check_refused(evaluate("good", tasks="hellaswag"), "pip install 'ropediag[harness]'")
    check_refused(evaluate("good", "--log-attention", tasks="hellaswag"), "log_attention or tasks, not both")


def test_the_bundled_model_breaks_where_it_is_predicted_to(evaluate):
    outcome = evaluate("demo", "--json", tokens=None, train_len=None, len=512, sequences=2, trials=1)
    found = json.loads(outcome.out)
    assert found["limit"]["predicted"] == 128
    assert 128 <= found["limit"]["measured"]["position"] <= 180
    assert found["perplexity"]["single_pass"] > 2 * found["perplexity"]["sliding_window"]["value"]
