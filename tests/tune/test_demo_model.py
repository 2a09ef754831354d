"""The bundled model: what is on its card is what it is and does."""

import hashlib
import warnings

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ropediag.assets import demo_model, held_out_text
from ropediag.text import read_token_sequences
from ropediag.tune.config import PretrainConfig
from ropediag.tune.corpus import read_standard_library
from ropediag.tune.measure import measure_loss, measure_recall
from ropediag.tune.metadata import hash_weights, read_metadata
from ropediag.tune.recall import make_recall_windows
from ropediag.tune.tokenizer import byte_tokenizer


@pytest.fixture(scope="module")
def demo():
    return AutoModelForCausalLM.from_pretrained(demo_model()).eval()


def test_the_weights_are_those_of_the_record_and_small():
    record = read_metadata(demo_model())
    assert hash_weights(demo_model()) == record.weights_hash
    assert sum(file.stat().st_size for file in demo_model().iterdir()) <= 8_000_000


def test_the_record_is_that_of_the_default_command(tmp_path):
    record = read_metadata(demo_model())
    default = PretrainConfig(out=tmp_path)
    assert record.command == "ropediag pretrain --out ropediag/assets/demo"
    assert (record.base, record.train_len, record.steps) == (default.base, default.length, default.steps)
    assert (record.recall_share, record.seed) == (default.recall_share, default.seed)
    library = read_standard_library("train")
    if library.differing == library.missing == 0:
        assert hashlib.sha256(library.text).hexdigest() == record.text_hash


def test_card_and_record_agree():
    card = (demo_model() / "README.md").read_text(encoding="utf-8")
    record = read_metadata(demo_model())
    assert f"{record.loss['held_out_bits_per_byte']['value']:.3f} bits per byte" in card
    assert f"{100 * record.loss['recall']['value']:.1f} %" in card
    assert "PSF licence" in card
    assert record.text_hash in card


def test_its_tokenizer_is_the_byte_tokenizer():
    text = held_out_text().read_text(encoding="utf-8")[:20_000]
    tokenizer = AutoTokenizer.from_pretrained(demo_model())
    assert tokenizer(text)["input_ids"] == byte_tokenizer()(text)["input_ids"] == list(text.encode())


def test_loss_within_the_training_length_is_at_most_1_8_bits_per_byte(demo):
    windows = read_token_sequences(None, byte_tokenizer(), 128, 1024, 11)
    assert measure_loss(demo, windows).value / np.log(2) < 1.8


def test_recall_agrees_with_the_record(demo):
    recorded = read_metadata(demo_model()).loss["recall"]["value"]
    text = np.frombuffer(held_out_text().read_bytes(), dtype=np.uint8)
    measured = measure_recall(demo, make_recall_windows(text, 128, 100, 12))
    assert measured.value == pytest.approx(recorded, abs=0.05)


def test_it_breaks_past_its_training_length(demo):
    ids = torch.from_numpy(read_token_sequences(None, byte_tokenizer(), 256, 16, 13))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        full = demo(input_ids=ids).logits
        windowed = demo(input_ids=ids[:, 128:]).logits
    excess = [
        torch.nn.functional.cross_entropy(logits[:, :-1].mT, targets[:, 1:], reduction="none")[:, -64:].mean()
        for logits, targets in ((full, ids), (windowed, ids[:, 128:]))
    ]
    assert excess[0] - excess[1] > 1.0
