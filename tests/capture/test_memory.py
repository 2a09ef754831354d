"""Too little memory: what would fit is said, and does."""

import re

import numpy as np
import pytest
import torch

import ropediag
from ropediag.capture import estimate, places, run
from ropediag.errors import CaptureError, RopediagError
from ropediag.testing.tiny import random_tokens, tiny_model

LENGTH = 6000
OPTIONS = {"train_len": 64, "rows": 4, "excess": False, "name": "tiny"}


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama", intermediate_size=4096, head_dim=8)


def refusal(model, path, monkeypatch, free, **options):
    monkeypatch.setattr(places, "available_memory", lambda _: free)
    with pytest.raises(CaptureError, match="are free") as caught:
        ropediag.capture_model(model, random_tokens(LENGTH), path, **OPTIONS, **options)
    return str(caught.value)


def test_a_chunk_that_would_fit_is_named_and_fits(model, tmp_path, monkeypatch):
    said = refusal(model, tmp_path / "out.h5", monkeypatch, 150 * 2**20, chunk=LENGTH)
    chunk = int(re.search(r"--chunk (\d+) would fit\.$", said)[1])
    assert chunk < LENGTH
    path = tmp_path / "out.h5"
    ropediag.capture_model(model, random_tokens(LENGTH), path, chunk=chunk, **OPTIONS)
    assert path.exists()


def test_where_no_chunk_would_fit_a_length_is_named_that_does(model, tmp_path, monkeypatch):
    def needed(model, length, window, head_dim, query_heads, kv_heads, chunk, in_blocks):
        return 1000 * length + 10 * min(length, chunk)

    monkeypatch.setattr(estimate, "capture_bytes", needed)
    free = 3_000_000
    said = refusal(model, tmp_path / "out.h5", monkeypatch, free)
    length = int(re.search(r"--len (\d+) would fit\.$", said)[1])
    assert 1010 * length <= free < 1010 * (length + estimate.STEP)
    ropediag.capture_model(model, random_tokens(length), tmp_path / "out.h5", **OPTIONS)


def test_where_nothing_would_fit_that_is_said(model, tmp_path, monkeypatch):
    assert refusal(model, tmp_path / "out.h5", monkeypatch, 2**20).endswith(
        "no length would fit: take --dtype bfloat16, or a device with more memory."
    )


def test_an_eager_model_that_needs_the_square_is_told_of_another_attention(tmp_path, monkeypatch):
    model = tiny_model("llama")
    model.set_attn_implementation("eager")
    monkeypatch.setattr(run, "check_blocks", lambda *given: False)
    assert "would fit, and more with --attn sdpa" in refusal(
        model, tmp_path / "out.h5", monkeypatch, 300 * 2**20
    )


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")], ids=str)
def test_memory_that_runs_out_is_said_with_what_would_take_less(model, tmp_path, monkeypatch, error):
    own = run.measure_layer

    def measure(call, *given):
        if call.layer == 2:
            raise error
        return own(call, *given)

    monkeypatch.setattr(run, "measure_layer", measure)
    path, ids = tmp_path / "out.h5", random_tokens(LENGTH)
    with pytest.raises(RopediagError, match=r"ran out while capturing 6,000 tokens.*--(chunk|len) \d+"):
        ropediag.capture_model(model, ids, path, chunk=LENGTH, **OPTIONS)
    monkeypatch.setattr(run, "measure_layer", own)
    ropediag.capture_model(model, ids, path, chunk=1000, resume=True, **OPTIONS)  # a chunk is no other recipe
    with ropediag.open_capture(path) as capture:
        assert np.isfinite(capture.values("scores/mean")[..., :10]).all()


def test_a_chunk_is_not_named_where_nothing_of_a_model_can_be_cut(model, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "find_positionwise", lambda *given: ())
    said = refusal(model, tmp_path / "out.h5", monkeypatch, 150 * 2**20)
    assert "--chunk" not in said
