"""Log-scaled attention: equal to logits scaled one by one, and to the model inside its training length."""

import math

import pytest
import torch

from ropediag.errors import ModelError
from ropediag.evaluate.log_attention import log_factor, scale_attention
from ropediag.models.tap import tap_attention
from tests.families import tiny_model, tokens


def attend_slowly(call, train_len):
    """Attention of one call, query by query, each logit multiplied by the factor as it is defined."""
    batch, heads, length, _ = call.query.shape
    group = heads // call.key.shape[1]
    out = torch.zeros(batch, length, heads, call.value.shape[-1])
    for t in range(length):
        first = max(0, t + 1 - (call.window or length))
        factor = max(1.0, math.log(t + 1) / math.log(train_len))
        for head in range(heads):
            keys, values = (side[0, head // group, first : t + 1] for side in (call.key, call.value))
            logits = keys @ call.query[0, head, t] * call.scaling * factor
            if call.softcap:
                logits = call.softcap * torch.tanh(logits / call.softcap)
            if call.sinks is not None:
                logits = torch.cat([logits, call.sinks[head, None]])
            out[0, t, head] = torch.softmax(logits, 0)[: len(keys)] @ values
    return out, None


@pytest.mark.parametrize("family", ["llama", "qwen3", "cohere2", "gemma2", "gpt_oss"])
def test_scaling_the_query_scales_every_logit(family):
    model, ids = tiny_model(family), tokens(60)
    with torch.no_grad():
        plain = model(ids).logits
        with scale_attention(model, train_len=8):
            scaled = model(ids).logits
        with tap_attention(model, lambda call: attend_slowly(call, 8)):
            expected = model(ids).logits
    torch.testing.assert_close(scaled, expected, atol=2e-4, rtol=2e-4)
    assert (scaled - plain).abs().max() > 0.05


@pytest.mark.parametrize("train_len", [2, 30, 31])
def test_inside_the_training_length_the_model_is_untouched(train_len):
    model, ids = tiny_model("llama"), tokens(31)
    with torch.no_grad():
        plain = model(ids).logits
        with scale_attention(model, train_len):
            scaled = model(ids).logits
        again = model(ids).logits
    assert torch.equal(scaled[:, :train_len], plain[:, :train_len])
    assert torch.equal(scaled, plain) == (train_len == 31)
    assert torch.equal(again, plain)


def test_the_factor_is_the_published_one():
    factor = log_factor(2**20, 2**14)
    assert factor[-1].item() == pytest.approx(
        20 / 14, abs=1e-12
    )  # science: 1,048,576 tokens, trained at 16,384
    assert (factor[: 2**14] == 1).all()
    assert (factor.diff() >= 0).all()


def test_a_model_that_cannot_be_tapped_is_refused():
    with (
        pytest.raises(ModelError, match="attention registry"),
        scale_attention(tiny_model("roformer"), 8),
    ):
        pass
