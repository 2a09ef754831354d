"""The clipped lag against logits of size length x length, made pair by pair, and against the models."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ropediag.errors import ModelError
from ropediag.intervene import clipping
from ropediag.intervene.clipping import attend_clipped, clip_lags
from ropediag.intervene.intervention import Intervention
from ropediag.intervene.selection import Target
from ropediag.models.tap import AttentionCall
from ropediag.rope import inv_freq, pair_channels, rotate

LENGTH, HEAD_DIM = 90, 16
POSITIONS = torch.arange(LENGTH)


def clip_slowly(q, k, value, spec, pairs, limit, options):
    """Attention from unrotated vectors: every contribution of every pair at its own, clipped or true, lag."""
    heads, group = len(q), len(q) // len(k)
    lag = np.arange(LENGTH)[:, None] - np.arange(LENGTH)
    out = np.zeros((LENGTH, heads, value.shape[-1]))
    rest = np.setdiff1d(np.arange(HEAD_DIM), spec.channels)
    for head in range(heads):
        a, b = q[head], k[head // group]
        logits = a[:, rest] @ b[:, rest].T
        for pair, (one, two) in enumerate(spec.channels):
            angle = spec.inv_freq[pair] * (np.minimum(lag, limit) if pair in pairs.get(head, ()) else lag)
            along = np.outer(a[:, one], b[:, one]) + np.outer(a[:, two], b[:, two])
            across = np.outer(a[:, one], b[:, two]) - np.outer(a[:, two], b[:, one])
            logits += spec.factor**2 * (along * np.cos(angle) + across * np.sin(angle))
        logits *= options.get("scaling", HEAD_DIM**-0.5)
        if "softcap" in options:
            logits = options["softcap"] * np.tanh(logits / options["softcap"])
        logits[(lag < 0) | (lag >= options.get("sliding_window", LENGTH))] = -np.inf
        if "s_aux" in options:
            logits = np.concatenate([logits, np.full((LENGTH, 1), options["s_aux"][head].item())], axis=1)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        out[:, head] = weights[:, :LENGTH] @ value[head // group]
    return out


def no_model(*_, **__):
    raise AssertionError("the model's attention is not needed")


def make_call(dtype, heads, kv_heads, spec, options, original=no_model):
    """Random unrotated vectors, and the call a model would make of them."""
    generator = np.random.default_rng(heads)
    q, k, v = (2 * generator.standard_normal((n, LENGTH, HEAD_DIM)) for n in (heads, kv_heads, kv_heads))
    turned = [
        torch.tensor(rotate(x, POSITIONS.numpy(), spec.inv_freq, spec.channels, spec.factor)) for x in (q, k)
    ]
    tensors = [x[None].to(dtype) for x in (*turned, torch.tensor(v))]
    module = nn.Module().eval()
    return (q, k, v), AttentionCall(module, 0, *tensors, None, options, original)


def make_spec(layout="half", rotary_dim=HEAD_DIM, factor=1.0):
    channels = pair_channels(layout, rotary_dim, HEAD_DIM)
    return SimpleNamespace(inv_freq=inv_freq(rotary_dim, 50.0), channels=channels, factor=factor)


CASES = {
    "half": (make_spec(), 2, 2, {}, {0: (0, 3, 7), 1: (0, 3, 7)}),
    "interleaved": (make_spec("interleaved"), 2, 2, {}, {0: (2, 3), 1: (2, 3)}),
    "partial rotary": (make_spec("half", 6), 2, 1, {}, {0: (1, 2), 1: (1, 2)}),
    "grouped heads, pairs by head": (make_spec(), 6, 2, {},
                                     {0: (1,), 1: (2, 5), 2: (7,), 3: (1,), 4: (0,), 5: (6,)}),
    "scaling and factor": (make_spec(factor=1.3), 2, 2, {"scaling": 0.1}, {0: (4,), 1: (5, 6)}),
    "window": (make_spec(), 2, 1, {"sliding_window": 40}, {0: (4, 5), 1: (4, 5)}),
    "softcap": (make_spec(), 2, 1, {"softcap": 3.0}, {0: (4, 5), 1: (4, 5)}),
    "sinks": (make_spec(), 2, 1, {"s_aux": torch.tensor([0.5, 2.0])}, {0: (4, 5), 1: (4, 5)}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("limit", [0, 7, 31])
@pytest.mark.parametrize("rows", [1, 13, 512])
def test_streamed_clipping_is_the_whole_matrix_clipped(case, limit, rows, monkeypatch):
    spec, heads, kv_heads, options, pairs = CASES[case]
    monkeypatch.setattr(clipping, "_ROWS", rows)
    vectors, call = make_call(torch.float64, heads, kv_heads, spec, options)
    target = Target(0, spec.inv_freq, spec.channels, pairs)
    found = attend_clipped(call, target, limit, POSITIONS)[0][0].numpy()
    np.testing.assert_allclose(found, clip_slowly(*vectors, spec, pairs, limit, options), atol=1e-9)
    assert np.abs(found - clip_slowly(*vectors, spec, {}, limit, options)).max() > 1e-3


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_clipping_keeps_the_data_type_and_is_as_exact_as_it_allows(dtype, tolerance):
    spec, heads, kv_heads, options, pairs = CASES["grouped heads, pairs by head"]
    vectors, call = make_call(dtype, heads, kv_heads, spec, options)
    found = attend_clipped(call, Target(0, spec.inv_freq, spec.channels, pairs), 7, POSITIONS)[0]
    assert found.dtype == dtype
    exact = clip_slowly(*vectors, spec, pairs, 7, options)
    assert np.abs(found[0].double().numpy() - exact).mean() < tolerance * np.abs(exact).mean()


def test_positions_may_begin_anywhere():
    spec, heads, kv_heads, options, pairs = CASES["half"]
    target, shift = Target(0, spec.inv_freq, spec.channels, pairs), 5000
    (q, k, _), call = make_call(torch.float64, heads, kv_heads, spec, options)
    moved = [
        torch.tensor(rotate(x, POSITIONS.numpy() + shift, spec.inv_freq, spec.channels))[None] for x in (q, k)
    ]
    later = AttentionCall(call.module, 0, *moved, call.value, None, options, no_model)
    torch.testing.assert_close(
        attend_clipped(call, target, 9, POSITIONS)[0], attend_clipped(later, target, 9, POSITIONS + shift)[0]
    )


def test_a_boolean_mask_hides_what_it_hides():
    spec, heads, kv_heads, options, pairs = CASES["half"]
    target = Target(0, spec.inv_freq, spec.channels, pairs)
    _, call = make_call(torch.float64, heads, kv_heads, spec, options)
    lag = POSITIONS[:, None] - POSITIONS
    masks = [(lag >= 0) & (lag < 20), torch.zeros(LENGTH, LENGTH).masked_fill((lag < 0) | (lag >= 20), -1e30)]
    outputs = [
        attend_clipped(
            AttentionCall(call.module, 0, call.query, call.key, call.value, mask[None, None], {}, no_model),
            target, 9, POSITIONS,
        )[0] for mask in masks
    ]  # fmt: skip
    call.options["sliding_window"] = 20
    outputs.append(attend_clipped(call, target, 9, POSITIONS)[0])
    torch.testing.assert_close(outputs[0], outputs[2])
    torch.testing.assert_close(outputs[1], outputs[2])


def test_other_heads_keep_the_attention_of_the_model():
    spec, heads, kv_heads, options, _ = CASES["half"]
    marker = torch.full((1, LENGTH, heads, HEAD_DIM), 7.0, dtype=torch.float64)
    vectors, call = make_call(torch.float64, heads, kv_heads, spec, options, lambda *_, **__: (marker, None))
    found = attend_clipped(call, Target(0, spec.inv_freq, spec.channels, {1: (3,)}), 9, POSITIONS)[0]
    assert (found[:, :, 0] == 7).all()
    exact = clip_slowly(*vectors, spec, {1: (3,)}, 9, options)
    np.testing.assert_allclose(found[0, :, 1].numpy(), exact[:, 1], atol=1e-9)


@pytest.mark.parametrize(("options", "limit"), [({}, LENGTH - 1), ({"sliding_window": 20}, 19)])
def test_where_no_lag_exceeds_the_limit_the_model_attends_by_itself(options, limit):
    spec, heads, kv_heads, _, pairs = CASES["half"]
    target = Target(0, spec.inv_freq, spec.channels, pairs)
    _, call = make_call(torch.float64, heads, kv_heads, spec, options, lambda *_, **__: "the model's own")
    assert clip_lags(call, target, Intervention("clip", limit=limit), POSITIONS) == "the model's own"
    assert clip_lags(call, target, Intervention("clip", limit=limit - 1), POSITIONS) != "the model's own"


REFUSED = {"is_causal": (False, "not causal"), "position_bias": (torch.zeros(1), "a bias by position"),
           "output_attentions": (True, "weights to be returned")}  # fmt: skip


@pytest.mark.parametrize("option", REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(option):
    value, said = REFUSED[option]
    spec, heads, kv_heads, _, pairs = CASES["half"]
    _, call = make_call(torch.float64, heads, kv_heads, spec, {option: value})
    with pytest.raises(ModelError, match=said):
        attend_clipped(call, Target(0, spec.inv_freq, spec.channels, pairs), 9, POSITIONS)


def test_memory_does_not_grow_with_the_square_of_the_length():
    """No block of logits exceeds the budget, however long the sequence."""
    sizes = []
    real = clipping._mask

    def watch(logits, *rest):
        sizes.append(logits.numel())
        return real(logits, *rest)

    length, spec = 3000, make_spec()
    x = torch.randn(1, 1, length, HEAD_DIM, generator=torch.Generator().manual_seed(0))
    call = AttentionCall(nn.Module().eval(), 0, x, x, x, None, {}, no_model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clipping, "_mask", watch)
        patch.setattr(clipping, "LOGITS_AT_ONCE", 30_000)
        attend_clipped(call, Target(0, spec.inv_freq, spec.channels, {0: (3,)}), 9, torch.arange(length))
    assert len(sizes) == 300
    assert max(sizes) <= 30_000
