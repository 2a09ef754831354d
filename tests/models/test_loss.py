"""Loss by position in slices and windows, against one forward pass each."""

import numpy as np
import pytest
import torch

from ropediag.errors import CaptureError
from ropediag.models import loss
from ropediag.models.loss import decode, nll_by_position, nll_windowed, rank_first
from tests.families import FAMILIES, tiny_model, tokens


def full_nll(model, ids):
    with torch.no_grad():
        logits = model(ids).logits[0].float()
    return torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="none").numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_slices_give_the_loss_of_the_whole(family, monkeypatch):
    model, ids = tiny_model(family), tokens(100)
    monkeypatch.setitem(loss.LOGITS_AT_ONCE, "cpu", 61 * 7)  # seven positions at a time
    with torch.no_grad():
        before = model(ids).logits
    nll = nll_by_position(model, ids, decode(model, ids))
    assert np.isnan(nll[0, 0])
    np.testing.assert_allclose(nll[0, 1:], full_nll(model, ids), atol=1e-5)
    with torch.no_grad():
        assert torch.equal(model(ids).logits, before), "the model is as it was"


@pytest.mark.parametrize(("length", "window"), [(100, 32), (101, 7), (96, 32), (20, 32), (33, 32), (50, 2)])
def test_windows_give_each_token_the_first_window_that_holds_it(length, window):
    model, ids = tiny_model("llama"), tokens(length)
    nll = nll_windowed(model, ids[0], window, tokens_at_once=64)
    size, stride = min(window, length), max(1, min(window, length) // 2)
    starts = [*range(0, length - size, stride), length - size]
    assert np.isnan(nll[0])
    for t in range(1, length):
        start = next(start for start in starts if start <= t < start + size)
        slow = full_nll(model, ids[:, start : start + size])[t - start - 1]
        assert abs(nll[t] - slow) < 1e-5
        assert t - start >= min(t, stride), "at least half a window of context"


@pytest.mark.parametrize(("window", "stride"), [(16, 1), (16, 15), (16, 16), (16, 40), (7, 3)])
def test_strides_leave_no_token_without_context(window, stride):
    model, ids = tiny_model("llama"), tokens(50)
    nll = nll_windowed(model, ids[0], window, stride)
    starts = [*range(0, 50 - window, min(stride, window - 1)), 50 - window]
    for t in range(1, 50):
        start = next(start for start in starts if start < t < start + window)
        assert abs(nll[t] - full_nll(model, ids[:, start : start + window])[t - start - 1]) < 1e-5


@pytest.mark.parametrize("start", [0, 13, 29])
def test_the_tokens_ranked_first_are_those_of_the_whole_logits(start):
    model, ids = tiny_model("llama"), torch.cat([tokens(30, seed=1), tokens(30, seed=2)])
    with torch.no_grad():
        expected = model(ids).logits[:, start:].argmax(-1)
    assert (rank_first(model, decode(model, ids), start) == expected.numpy()).all()


def test_ranking_nan_logits_is_an_error():
    model, ids = tiny_model("llama"), tokens(20)
    output = decode(model, ids)
    output.last_hidden_state[0, 11] = torch.nan
    rank_first(model, output, 12)
    with pytest.raises(CaptureError, match="logits are NaN from position 11 on"):
        rank_first(model, output, 11)


def test_nan_logits_are_an_error():
    model, ids = tiny_model("llama"), tokens(20)
    output = decode(model, ids)
    output.last_hidden_state[0, 11] = torch.nan
    with pytest.raises(CaptureError, match="logits are NaN between positions 0 and 19"):
        nll_by_position(model, ids, output)
