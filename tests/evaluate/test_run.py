"""A whole evaluation of small models in memory: what it says, what it writes, what it leaves."""

import json

import numpy as np
import pytest
import torch

from ropediag import open_capture
from ropediag.analysis.limit import measure_limit
from ropediag.errors import CaptureError, ConfigError
from ropediag.evaluate import EvaluateConfig, evaluate_model, run
from ropediag.models.loss import decode, nll_by_position, nll_windowed
from ropediag.store import summarize
from ropediag.theory.phases import PhaseSpec
from ropediag.tune.tokenizer import byte_tokenizer
from tests.evaluate.bpe import bpe_tokenizer
from tests.families import tiny_model

LENGTH, TRAIN_LEN = 256, 64


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama", vocab_size=256)


@pytest.fixture(scope="module")
def ids():
    return np.random.default_rng(0).integers(32, 127, (2, LENGTH))


def evaluate(model, ids, **options):
    return evaluate_model(model, ids, **{"train_len": TRAIN_LEN, "trials": 2, **options})


def test_the_file_holds_what_was_measured(model, ids, tmp_path):
    found = evaluate(model, ids, tokenizer=byte_tokenizer(), out=tmp_path / "new" / "out.h5", name="toy")
    with open_capture(tmp_path / "new" / "out.h5") as file:
        assert (file.attrs["kind"], file.status, file.attrs["model"]) == ("evaluation", "complete", "toy")
        np.testing.assert_array_equal(file["loss/nll"], found.nll)
        np.testing.assert_array_equal(file["loss/nll_windowed"], found.nll_windowed)
        assert file["recall/task_name"].values.tolist() == ["key-value"]
        np.testing.assert_array_equal(file["recall/hits"][0], found.recall[0].hits)
        np.testing.assert_array_equal(file["recall/count"][0], found.recall[0].count)
        np.testing.assert_allclose(file["recall/answer_lag"][0], found.recall[0].lag)
        assert file["recall/hits"].length.values.tolist() == [64, 128, 256]
        assert json.loads(file.attrs["figures"]) == json.loads(json.dumps(found.figures()))
    assert summarize(tmp_path / "new" / "out.h5").sizes["depth"] == 5


def test_losses_are_those_of_the_model(model, ids):
    found, rows = evaluate(model, ids, trials=0), torch.from_numpy(ids)
    for row in range(2):
        one = rows[row : row + 1]
        np.testing.assert_array_equal(found.nll[row], nll_by_position(model, one, decode(model, one))[0])
        np.testing.assert_array_equal(found.nll_windowed[row], nll_windowed(model, rows[row], TRAIN_LEN))
    figures = found.figures()
    assert figures["perplexity"]["single_pass"] == pytest.approx(np.exp(np.nanmean(found.nll)), rel=1e-5)
    sliding = figures["perplexity"]["sliding_window"]
    assert sliding["value"] == pytest.approx(np.exp(np.nanmean(found.nll_windowed)), rel=1e-5)
    assert (sliding["window"], sliding["stride"]) == (64, 32)
    assert figures["recall"] == []
    assert figures["limit"]["predicted"] == TRAIN_LEN


def test_another_window_gives_another_perplexity(model, ids):
    figures = evaluate(model, ids, trials=0, window=16, stride=4).figures()["perplexity"]
    assert (figures["sliding_window"]["window"], figures["sliding_window"]["stride"]) == (16, 4)
    rows = [nll_windowed(model, row, 16, 4) for row in torch.from_numpy(ids)]
    assert figures["sliding_window"]["value"] == pytest.approx(np.exp(np.nanmean(rows)), rel=1e-5)


def test_log_attention_changes_only_what_lies_past_the_training_length(model, ids):
    plain, scaled = (evaluate(model, ids, trials=0, log_attention=on) for on in (False, True))
    np.testing.assert_array_equal(plain.nll_windowed, scaled.nll_windowed)
    np.testing.assert_array_equal(plain.nll[:, : TRAIN_LEN + 1], scaled.nll[:, : TRAIN_LEN + 1])
    assert np.abs(plain.nll - scaled.nll)[:, TRAIN_LEN + 1 :].max() > 1e-3


def test_the_limit_of_the_parent_is_predicted_by_its_own_frequencies(model, ids):
    stretched = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}
    parent = tiny_model("llama", vocab_size=256, rope_parameters=stretched)
    found = evaluate(model, ids, trials=0, parent=parent)
    assert found.predicted == TRAIN_LEN
    assert found.parent_limits.predicted == pytest.approx(4 * TRAIN_LEN)
    assert found.figures()["dtype"] == "float32"
    assert found.figures()["bos"] == ""


def test_the_parent_turns_as_it_does_at_the_length_of_the_pass(model, ids):
    rule = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10_000.0}
    parent = tiny_model("llama", vocab_size=256, rope_parameters=rule, max_position_embeddings=TRAIN_LEN)
    found = evaluate(model, ids, trials=0, parent=parent)
    grown = 10_000.0 * (4 * LENGTH / TRAIN_LEN - 3) ** (8 / 6)  # transformers' rule, 8 rotary dimensions
    limits = found.parent_limits
    # pair 2 is the first untrained one
    assert limits.predicted == pytest.approx(2 * np.pi * grown ** (2 * 2 / 8))
    assert limits.first_reach == pytest.approx(TRAIN_LEN * (grown / 10_000.0) ** (2 * 2 / 8))


def test_windows_are_as_long_as_the_longest_phase(model, ids):
    """Pair 2 turned by 3.2 radians in 32 tokens at base 100, and turns by 0.01 a token at base 10,000."""
    phases = (PhaseSpec(32, 100.0), PhaseSpec(96, 10_000.0), PhaseSpec(80, 10_000.0))
    found = evaluate(model, ids, trials=0, train_len=None, phases=phases)
    rows = torch.from_numpy(ids)
    np.testing.assert_array_equal(
        found.nll_windowed, np.stack([nll_windowed(model, row, 96) for row in rows])
    )
    assert found.measured == measure_limit(found.nll - found.nll_windowed, 96, seed=0)
    figures = found.figures()
    assert figures["perplexity"]["sliding_window"]["window"] == 96
    assert figures["limit"]["first_reach"] == pytest.approx(320)
    assert figures["limit"]["predicted"] == pytest.approx(2 * np.pi * 100)
    assert [phase["length"] for phase in figures["phases"]] == [32, 96, 80]


def test_the_parent_is_compared_and_chooses_the_key_tokens(model, ids):
    parent = tiny_model("llama", vocab_size=256, seed=3).train()
    parent.config.name_or_path = "shelf/elder"
    found = evaluate(model, ids, trials=0, parent=parent)
    other = np.stack([nll_windowed(parent.eval(), row, TRAIN_LEN) for row in torch.from_numpy(ids)])
    assert found.regression.parent == found.key_tokens.evaluator == "elder"
    assert found.regression.parent_loss == pytest.approx(np.nanmean(other), rel=1e-5)
    assert found.regression.difference.count == 8
    full = np.concatenate(
        [nll_by_position(parent, row, decode(parent, row)) for row in torch.from_numpy(ids).split(1)]
    )
    limits = found.parent_limits
    assert limits.measured == measure_limit(full - other, TRAIN_LEN, seed=0)
    assert found.figures()["parent_limit"]["measured"]["position"] == limits.measured.position
    short = np.stack([nll_windowed(parent, row, TRAIN_LEN // 8) for row in torch.from_numpy(ids)])
    assert found.key_tokens.count == ((short - other > 2) & (other < 2)).sum()
    with pytest.raises(ConfigError, match="vocabularies differ"):
        evaluate(model, ids, parent=tiny_model("llama", vocab_size=61))


def test_a_model_that_reads_words_is_asked_for_passkey_and_needle():
    tokenizer = bpe_tokenizer()
    model = tiny_model("llama", vocab_size=len(tokenizer))
    ids = np.random.default_rng(0).integers(0, len(tokenizer), (1, 500))
    found = evaluate(model, ids, tokenizer=tokenizer, train_len=250)
    assert [recall.task for recall in found.recall] == ["passkey", "needle"]
    for recall in found.recall:
        assert recall.lengths == (250, 500)
        assert recall.count.tolist() == [[2] * 5] * 2
        assert recall.chance == 0


def test_the_model_is_left_in_its_mode(ids):
    model = tiny_model("llama", vocab_size=256).train()
    evaluate(model, ids, trials=0)
    assert model.training


def test_nothing_is_left_when_it_fails(model, ids, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise CaptureError("the disk is full")

    monkeypatch.setattr("ropediag.store.whole.publish_alone", fail)
    with pytest.raises(CaptureError, match="disk is full"):
        evaluate(model, ids, trials=0, out=tmp_path / "out.h5")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced_only_by_force(model, ids, tmp_path, monkeypatch):
    path = tmp_path / "out.h5"
    path.write_text("mine")
    with pytest.raises(CaptureError, match=r"out\.h5 exists"):
        evaluate(model, ids, trials=0, out=path)
    assert path.read_text() == "mine"
    monkeypatch.setattr(run, "perplexity", lambda nll: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(model, ids, trials=0, out=path, force=True)
    assert path.read_text() == "mine", "the old file stays until the new one is whole"
    monkeypatch.undo()
    evaluate(model, ids, trials=0, out=path, force=True)
    assert summarize(path).attributes["kind"] == "evaluation"


def test_a_recipe_names_what_decides_the_numbers():
    one, two = (
        EvaluateConfig("demo", 10, force=force, device=d) for force, d in ((True, "cpu"), (False, "auto"))
    )
    assert one.recipe() == two.recipe()
    assert one.recipe() != EvaluateConfig("demo", 10, log_attention=True).recipe()
