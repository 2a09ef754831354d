"""The bundled model: what is on its card is what it is and does."""

import hashlib

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ropediag.analysis.limit import measure_limit
from ropediag.assets import demo_model, held_out_text
from ropediag.models.load import fingerprint_weights, load_model
from ropediag.models.loss import decode, nll_by_position, nll_windowed
from ropediag.text import read_token_sequences
from ropediag.tune.config import PretrainConfig
from ropediag.tune.corpus import read_standard_library
from ropediag.tune.measure import measure_recall
from ropediag.tune.metadata import hash_weights, read_metadata
from ropediag.tune.recall import make_recall_windows
from ropediag.tune.tokenizer import byte_tokenizer


@pytest.fixture(scope="module")
def demo():
    return AutoModelForCausalLM.from_pretrained(demo_model()).eval()


def test_the_weights_are_those_of_the_record_and_small():
    record = read_metadata(demo_model())
    assert hash_weights(demo_model()) == record.weights_hash
    assert fingerprint_weights(load_model("demo").model) == record.weight_fingerprint
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


def test_recall_agrees_with_the_record(demo):
    recorded = read_metadata(demo_model()).loss["recall"]["value"]
    text = np.frombuffer(held_out_text().read_bytes(), dtype=np.uint8)
    measured = measure_recall(demo, make_recall_windows(text, 128, 100, 12))
    assert measured.value == pytest.approx(recorded, abs=0.05)


@pytest.fixture(scope="module")
def sixteen(demo):
    """Loss of 16 held-out sequences with full context and with at most 128 tokens of it, nats."""
    ids = torch.from_numpy(read_token_sequences(None, byte_tokenizer(), 2048, 16, 13))
    full = nll_by_position(demo, ids, decode(demo, ids))
    return full, np.stack([nll_windowed(demo, sequence, 128) for sequence in ids])


def test_more_context_than_in_training_does_harm_at_once(sixteen):
    limit = measure_limit(sixteen[0] - sixteen[1], 128)
    assert 128 <= limit.low <= limit.position <= limit.high <= 1.2 * 128


def test_it_loses_a_nat_by_one_and_a_half_training_lengths(sixteen):
    excess = (sixteen[0] - sixteen[1])[:, 192 - 16 : 192 + 16].mean(1)
    assert excess.mean() - 1.96 * excess.std(ddof=1) / 4 > 1.0


def test_windowed_loss_is_at_most_1_8_bits_per_byte(sixteen):
    bits = np.nanmean(sixteen[1], axis=1) / np.log(2)
    assert bits.mean() <= 1.8
    assert bits.std(ddof=1) / 4 < 0.1  # so that the line above says something
