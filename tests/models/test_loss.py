"""Loss by position in slices and windows, against one forward pass each."""

import numpy as np
import pytest
import torch

from ropediag.errors import CaptureError, ConfigError
from ropediag.models import loss
from ropediag.models.loss import decode, nll_by_position, nll_windowed, rank_first
from ropediag.models.memory import head_rows
from tests.families import FAMILIES, tiny_model, tokens


def full_nll(model, ids):
    with torch.no_grad():
        logits = model(ids).logits[0].float()
    return torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="none").numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_slices_give_the_loss_of_the_whole(family, monkeypatch):
    model, ids = tiny_model(family), tokens(100)
    monkeypatch.setattr(loss, "head_rows", lambda vocabulary, device: 7)
    monkeypatch.setitem(loss.LOSS_VALUES, "cpu", 61 * 3)
    with torch.no_grad():
        before = model(ids).logits
    nll = nll_by_position(model, ids, decode(model, ids))
    assert np.isnan(nll[0, 0])
    np.testing.assert_allclose(nll[0, 1:], full_nll(model, ids), atol=1e-5)
    with torch.no_grad():
        assert torch.equal(model(ids).logits, before), "the model is as it was"


def test_sequences_in_one_pass_have_the_losses_they_have_alone(monkeypatch):
    """Slices run over the positions of all sequences, so one may end in the middle of the next sequence."""
    model, ids = tiny_model("llama"), torch.cat([tokens(30, seed=seed) for seed in (1, 2, 3)])
    monkeypatch.setattr(loss, "head_rows", lambda vocabulary, device: 19)
    together = nll_by_position(model, ids, decode(model, ids))
    for row, nll in zip(ids, together, strict=True):
        np.testing.assert_allclose(nll[1:], full_nll(model, row[None]), atol=1e-5)


@pytest.mark.parametrize(
    ("vocabulary", "device", "rows"),
    [
        (256, "cpu", 8192),
        (32_000, "cpu", 256),
        (262_144, "cpu", 256),
        (262_144, "cuda", 256),
        (256, "cuda", 2**18),
    ],
)
def test_a_slice_of_a_large_vocabulary_still_has_hundreds_of_positions(vocabulary, device, rows):
    """Each call of the head reads all of its weights, whatever the number of positions."""
    assert head_rows(vocabulary, device) == rows


def test_the_head_is_called_once_for_hundreds_of_positions_in_windows_too():
    model, ids = tiny_model("llama", vocab_size=20_000), tokens(520)
    calls = []
    model.lm_head.register_forward_hook(lambda module, inputs, output: calls.append(output.shape[1]))
    nll_by_position(model, ids, decode(model, ids))
    assert calls == [256, 256, 7]
    calls.clear()
    nll_windowed(model, ids[0], 16)
    assert calls[:-1] == [256] * (len(calls) - 1)


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


@pytest.mark.parametrize(
    ("length", "window", "stride", "leading"),
    [(100, 32, None, 1), (101, 7, 3, 1), (60, 8, 7, 1), (60, 2, None, 1), (60, 9, 8, 2), (20, 32, None, 2)],
)
def test_every_window_begins_with_the_leading_tokens_and_has_no_more_context(length, window, stride, leading):
    """The slow way: for each token, one text of the leading tokens and the window's part up to the token."""
    model, ids = tiny_model("llama"), tokens(length)
    nll = nll_windowed(model, ids[0], window, stride, leading=leading, tokens_at_once=64)
    size = min(window, length)
    part, step = size - leading, min(stride or size // 2, size - 1, size - leading)
    starts = [*range(leading, length - part, step), length - part]
    for t in range(leading, length):
        start = next(start for start in starts if start <= t < start + part)
        text = torch.cat([ids[:, :leading], ids[:, start : t + 1]], dim=1)
        assert abs(nll[t] - full_nll(model, text)[-1]) < 1e-5
        assert min(t, size - step) <= text.shape[1] - 1 <= size - 1, "as many tokens before it as without"


def test_a_window_without_room_beyond_the_leading_tokens_is_refused():
    with pytest.raises(ConfigError, match="a window of 2 tokens has no room beyond 2 leading special tokens"):
        nll_windowed(tiny_model("llama"), tokens(20)[0], 2, leading=2)


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
    with pytest.raises(CaptureError, match="logits are NaN at position 11 of sequence 0"):
        rank_first(model, output, 11)


def test_nan_logits_are_an_error():
    model, ids = tiny_model("llama"), tokens(20)
    output = decode(model, ids)
    output.last_hidden_state[0, 11] = torch.nan
    with pytest.raises(CaptureError, match="logits are NaN at position 11 of sequence 0"):
        nll_by_position(model, ids, output)
