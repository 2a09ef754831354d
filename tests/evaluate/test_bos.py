"""BOS begins each sequence, window and prompt of a model whose tokenizer begins a text with it."""

import numpy as np
import pytest
import torch

from ropediag.assets import held_out_text
from ropediag.capture import capture_checkpoint, capture_model
from ropediag.cli.info import format_text
from ropediag.config import CaptureConfig
from ropediag.errors import ConfigError
from ropediag.evaluate import EvaluateConfig, evaluate_checkpoint, retrieval
from ropediag.intervene.config import AblateConfig
from ropediag.intervene.run import ablate_checkpoint
from ropediag.store import open_capture, summarize
from ropediag.text import hash_tokens, read_token_sequences
from tests.evaluate.bpe import bos_tokenizer
from tests.families import tiny_model

LENGTH, TRAIN_LEN = 72, 32
SHARED = {"length": LENGTH, "sequences": 2, "train_len": TRAIN_LEN, "device": "cpu"}
SAID = "every sequence and every window begins with <bos>, as the model's tokenizer begins a text"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint whose tokenizer begins a text with <bos>."""
    folder = tmp_path_factory.mktemp("bos") / "begun"
    tokenizer = bos_tokenizer()
    tiny_model("llama", vocab_size=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def slow_losses(ids, leading):
    """Losses of whole sequences and of windows, one plain forward pass for each token of each window."""
    tokenizer = bos_tokenizer()
    model = tiny_model("llama", vocab_size=len(tokenizer))

    def last_loss(text):
        with torch.no_grad():
            logits = model(torch.tensor([text])).logits[0, -2]
        return float(torch.nn.functional.cross_entropy(logits[None], torch.tensor(text[-1:])))

    full, windowed = np.full(ids.shape, np.nan), np.full(ids.shape, np.nan)
    part, stride = TRAIN_LEN - leading, TRAIN_LEN // 2
    starts = [*range(leading, LENGTH - part, stride), LENGTH - part]
    for row, text in enumerate(ids.tolist()):
        for t in range(1, LENGTH):
            start = next(start for start in starts if t < start + part)
            full[row, t] = last_loss(text[: t + 1])
            windowed[row, t] = last_loss(text[:leading] + text[start : t + 1])
    return full, windowed


@pytest.mark.parametrize(("bos", "leading"), [(None, 1), (True, 1), (False, 0)])
def test_an_evaluation_reads_each_sequence_and_window_from_bos_on(folder, tmp_path, bos, leading):
    said = []
    config = EvaluateConfig(str(folder), out=tmp_path / "e.h5", trials=0, bos=bos, **SHARED)
    found = evaluate_checkpoint(config, said.append)
    tokenizer = bos_tokenizer()
    ids = read_token_sequences(None, tokenizer, LENGTH - leading, 2, 0, bos=False)
    ids = np.hstack([np.full((2, leading), tokenizer.bos_token_id), ids])
    full, windowed = slow_losses(ids, leading)
    np.testing.assert_allclose(found.nll, full, atol=1e-5)
    np.testing.assert_allclose(found.nll_windowed, windowed, atol=1e-5)
    without = "read without <bos>, with which the model's tokenizer begins a text"
    assert said[0] == (SAID if leading else without)
    with open_capture(tmp_path / "e.h5") as file:
        assert file.attrs["bos"] == ("<bos>" if leading else "")


def test_recall_prompts_begin_with_bos_and_hold_it_nowhere_else(folder, monkeypatch):
    seen, score = [], retrieval.score_prompts

    def note(model, prompts):
        seen.append(prompts.ids)
        return score(model, prompts)

    monkeypatch.setattr(retrieval, "score_prompts", note)
    monkeypatch.setattr("ropediag.evaluate.run.recall_lengths", lambda train_len, length: (length,))
    options = SHARED | {"length": 300, "sequences": 1}
    begun = evaluate_checkpoint(EvaluateConfig(str(folder), trials=1, **options))
    assert {recall.task for recall in begun.recall} == {"passkey", "needle"}
    bos = bos_tokenizer().bos_token_id
    prompts = np.concatenate(seen)
    assert (prompts[:, 0] == bos).all()
    assert not (prompts[:, 1:] == bos).any()


def test_captures_and_ablations_read_from_bos_on_and_record_it(folder, tmp_path):
    config = EvaluateConfig(str(folder), trials=0, **SHARED)
    evaluated = evaluate_checkpoint(config)
    capture_checkpoint(CaptureConfig(str(folder), out=tmp_path / "c.h5", **SHARED))
    ablate_checkpoint(AblateConfig(str(folder), out=tmp_path / "a.h5", random=0, pairs="all", **SHARED))
    for name in ("c.h5", "a.h5"):
        with open_capture(tmp_path / name) as file:
            assert file.attrs["bos"] == "<bos>"
            np.testing.assert_allclose(file.values("loss/nll"), evaluated.nll, atol=1e-5)
            np.testing.assert_allclose(file.values("loss/nll_windowed"), evaluated.nll_windowed, atol=1e-5)
        assert "begins with <bos>" in format_text(summarize(tmp_path / name))


def test_token_ids_that_are_given_are_read_as_they_are(folder, tmp_path):
    ids = read_token_sequences(None, bos_tokenizer(), LENGTH, 2, 0, bos=False)
    np.save(tmp_path / "ids.npy", ids)
    given = {**SHARED, "tokens": tmp_path / "ids.npy", "trials": 0}
    found = evaluate_checkpoint(EvaluateConfig(str(folder), **given))
    bare = evaluate_checkpoint(EvaluateConfig(str(folder), trials=0, bos=False, **SHARED))
    np.testing.assert_array_equal(found.nll, bare.nll)
    np.testing.assert_array_equal(found.nll_windowed, bare.nll_windowed)
    with pytest.raises(ConfigError, match="token ids do not begin with <bos>"):
        evaluate_checkpoint(EvaluateConfig(str(folder), bos=True, **given))
    model = tiny_model("llama", vocab_size=len(bos_tokenizer()))
    capture_model(model, ids, tmp_path / "c.h5", tokenizer=bos_tokenizer(), train_len=TRAIN_LEN)
    with open_capture(tmp_path / "c.h5") as file:
        assert (file["tokens/input_ids"].values == ids).all()
        assert file.attrs["bos"] == ""


def test_a_model_whose_tokenizer_has_no_bos_refuses_it_and_is_read_as_before(tmp_path):
    with pytest.raises(ConfigError, match="puts no special token before a text"):
        evaluate_checkpoint(EvaluateConfig("demo", length=256, bos=True))
    said = []
    evaluate_checkpoint(EvaluateConfig("demo", length=256, trials=0, out=tmp_path / "e.h5"), said.append)
    assert not any("begin" in line for line in said)
    with open_capture(tmp_path / "e.h5") as file:
        assert file.attrs["bos"] == ""
        ids = np.frombuffer(held_out_text().read_bytes(), dtype=np.uint8)
        starts = np.random.default_rng(0).integers(0, ids.size - 256 + 1, 1)
        assert file.attrs["text_hash"] == hash_tokens(ids[starts[:, None] + np.arange(256)])
