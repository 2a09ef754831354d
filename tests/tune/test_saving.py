"""A checkpoint is replaced whole, and while it is not whole nothing says that it is."""

import pytest

from ropediag.errors import CaptureError
from ropediag.tune import saving
from ropediag.tune.metadata import METADATA_NAME, hash_weights
from ropediag.tune.saving import STAGE, save_model
from ropediag.tune.tokenizer import byte_tokenizer
from tests.families import tiny_model


@pytest.fixture
def out(tmp_path):
    save_model(tiny_model("llama", vocab_size=256), byte_tokenizer(), tmp_path / "out")
    (tmp_path / "out" / METADATA_NAME).write_text("{}")
    return tmp_path / "out"


def test_the_record_of_earlier_weights_and_their_parts_go(out):
    (out / "model-00002-of-00002.safetensors").write_bytes(b"earlier")
    (out / "model.safetensors.index.json").write_text("{}")
    (out / "notes.txt").write_text("mine")
    save_model(tiny_model("llama", seed=1, vocab_size=256), byte_tokenizer(), out)
    assert not (out / METADATA_NAME).exists()
    assert [path.name for path in out.glob("model*")] == ["model.safetensors"]
    assert (out / "notes.txt").exists()
    assert not (out / STAGE).exists()


@pytest.mark.parametrize("said", ["No space left on device (os error 28)", "something else"])
def test_a_save_that_fails_leaves_what_was_there(out, monkeypatch, said):
    before = hash_weights(out)

    def fail(model, folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise RuntimeError(said)

    monkeypatch.setattr(saving, "_save_quietly", fail)
    with pytest.raises(CaptureError if "space" in said else RuntimeError):
        save_model(tiny_model("llama", seed=1, vocab_size=256), None, out)
    assert hash_weights(out) == before
    assert (out / METADATA_NAME).exists()
    assert not (out / STAGE).exists()


def test_weights_that_do_not_fit_are_not_begun(out, monkeypatch):
    monkeypatch.setattr(saving, "free_space", lambda folder: 1000)
    with pytest.raises(CaptureError, match=r"its weights need 0\.\d MiB, 0\.0 MiB are free"):
        save_model(tiny_model("llama", vocab_size=256), None, out)
    assert (out / METADATA_NAME).exists()
