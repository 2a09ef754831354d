"""Clipped and folded lags against logits of size length x length, made pair by pair."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ropediag.errors import ModelError
from ropediag.intervene import lag_limits, streaming
from ropediag.intervene.intervention import Intervention
from ropediag.intervene.lag_limits import LAG_MAPS, attend_limited, limit_lags
from ropediag.intervene.selection import Target
from ropediag.models.tap import AttentionCall
from ropediag.rope import inv_freq, pair_channels, rotate

LENGTH, HEAD_DIM = 90, 16
POSITIONS = torch.arange(LENGTH)


def map_slowly(kind, lag, limit):
    """The lag that one lag counts as, step by step: beyond the limit down to its half, and up again."""
    if lag <= limit or kind == "clip":
        return min(lag, limit)
    legs, rest = divmod(lag - limit, limit / 2)
    return limit / 2 + rest if legs % 2 else limit - rest


def limit_slowly(q, k, value, spec, kind, limits, options):
    """Attention from unrotated vectors: every contribution of every pair at its own, limited or true, lag."""
    heads, group = len(q), len(q) // len(k)
    lag = np.arange(LENGTH)[:, None] - np.arange(LENGTH)
    out = np.zeros((LENGTH, heads, value.shape[-1]))
    rest = np.setdiff1d(np.arange(HEAD_DIM), spec.channels)
    for head in range(heads):
        a, b = q[head], k[head // group]
        logits = a[:, rest] @ b[:, rest].T
        for pair, (one, two) in enumerate(spec.channels):
            limit = limits.get(head, {}).get(pair, np.inf)
            counts_as = np.array([map_slowly(kind, one, limit) for one in range(LENGTH)])
            angle = spec.inv_freq[pair] * counts_as[np.maximum(lag, 0)]
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


def common(pairs, limit):
    """One limit for all chosen pairs."""
    return {head: dict.fromkeys(own, float(limit)) for head, own in pairs.items()}


def each(pairs, seed=0):
    """A limit for each chosen pair, not whole, some beyond every lag."""
    generator = np.random.default_rng(seed)
    return {head: {pair: float(generator.uniform(1, LENGTH)) for pair in own} for head, own in pairs.items()}


def attend(call, spec, kind, limits, positions=POSITIONS):
    target = Target(
        0, spec.inv_freq, spec.channels, {head: tuple(own) for head, own in limits.items()}, limits
    )
    return attend_limited(call, target, kind, limits, positions)[0]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", LAG_MAPS)
@pytest.mark.parametrize("limit", [0.5, 7, 31, "each"])
@pytest.mark.parametrize("rows", [1, 13, 512])
def test_streamed_limits_are_those_of_the_whole_matrix(case, kind, limit, rows, monkeypatch):
    spec, heads, kv_heads, options, pairs = CASES[case]
    monkeypatch.setattr(streaming, "_ROWS", rows)
    monkeypatch.setattr(lag_limits, "_ROWS", max(1, rows // 2))
    monkeypatch.setattr(lag_limits, "_KNOTS", rows)
    vectors, call = make_call(torch.float64, heads, kv_heads, spec, options)
    limits = each(pairs) if limit == "each" else common(pairs, limit)
    found = attend(call, spec, kind, limits)[0].numpy()
    np.testing.assert_allclose(found, limit_slowly(*vectors, spec, kind, limits, options), atol=1e-9)
    assert np.abs(found - limit_slowly(*vectors, spec, kind, {}, options)).max() > 1e-3


def test_a_common_clip_takes_the_two_halves_and_tables_give_the_same(monkeypatch):
    spec, heads, kv_heads, options, pairs = CASES["half"]
    _, call = make_call(torch.float64, heads, kv_heads, spec, options)
    monkeypatch.setattr(lag_limits, "LagTables", no_model)
    halves = attend(call, spec, "clip", common(pairs, 20.5))
    monkeypatch.undo()
    monkeypatch.setattr(lag_limits, "make_halves", no_model)
    nearly = {head: {**own, 0: 20.5 + 1e-12} for head, own in common(pairs, 20.5).items()}
    torch.testing.assert_close(attend(call, spec, "clip", nearly), halves)


@pytest.mark.parametrize("limit", [8.0, 9.3])
def test_a_folded_lag_is_a_triangle_wave_that_never_leaves_the_upper_half(limit):
    lag = torch.arange(0, 60, dtype=torch.float64)
    found = LAG_MAPS["fold"](lag, limit).numpy()
    np.testing.assert_allclose(found, [map_slowly("fold", float(one), limit) for one in lag], atol=1e-9)
    assert (found[lag > limit] >= limit / 2).all()
    assert (found <= limit).all()
    assert (np.abs(np.diff(found)) <= 1 + 1e-9).all()  # continuous


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("kind", LAG_MAPS)
def test_limits_keep_the_data_type_and_are_as_exact_as_it_allows(kind, dtype, tolerance):
    spec, heads, kv_heads, options, pairs = CASES["grouped heads, pairs by head"]
    vectors, call = make_call(dtype, heads, kv_heads, spec, options)
    limits = each(pairs)
    found = attend(call, spec, kind, limits)
    assert found.dtype == dtype
    exact = limit_slowly(*vectors, spec, kind, limits, options)
    assert np.abs(found[0].double().numpy() - exact).mean() < tolerance * np.abs(exact).mean()


@pytest.mark.parametrize("limits", [common, each])
@pytest.mark.parametrize("kind", LAG_MAPS)
def test_positions_may_begin_anywhere(kind, limits):
    spec, heads, kv_heads, options, pairs = CASES["half"]
    chosen, shift = common(pairs, 9) if limits is common else each(pairs), 5000
    (q, k, _), call = make_call(torch.float64, heads, kv_heads, spec, options)
    moved = [
        torch.tensor(rotate(x, POSITIONS.numpy() + shift, spec.inv_freq, spec.channels))[None] for x in (q, k)
    ]
    later = AttentionCall(call.module, 0, *moved, call.value, None, options, no_model)
    torch.testing.assert_close(
        attend(call, spec, kind, chosen), attend(later, spec, kind, chosen, POSITIONS + shift)
    )


def test_a_boolean_mask_hides_what_it_hides():
    spec, heads, kv_heads, options, pairs = CASES["half"]
    limits = common(pairs, 9)
    _, call = make_call(torch.float64, heads, kv_heads, spec, options)
    lag = POSITIONS[:, None] - POSITIONS
    masks = [(lag >= 0) & (lag < 20), torch.zeros(LENGTH, LENGTH).masked_fill((lag < 0) | (lag >= 20), -1e30)]
    outputs = [
        attend(
            AttentionCall(call.module, 0, call.query, call.key, call.value, mask[None, None], {}, no_model),
            spec, "clip", limits,
        ) for mask in masks
    ]  # fmt: skip
    call.options["sliding_window"] = 20
    outputs.append(attend(call, spec, "clip", limits))
    torch.testing.assert_close(outputs[0], outputs[2])
    torch.testing.assert_close(outputs[1], outputs[2])


def test_other_heads_keep_the_attention_of_the_model():
    spec, heads, kv_heads, options, _ = CASES["half"]
    marker = torch.full((1, LENGTH, heads, HEAD_DIM), 7.0, dtype=torch.float64)
    vectors, call = make_call(torch.float64, heads, kv_heads, spec, options, lambda *_, **__: (marker, None))
    limits = {1: {3: 9.0}}
    found = attend(call, spec, "clip", limits)
    assert (found[:, :, 0] == 7).all()
    exact = limit_slowly(*vectors, spec, "clip", limits, options)
    np.testing.assert_allclose(found[0, :, 1].numpy(), exact[:, 1], atol=1e-9)


@pytest.mark.parametrize(("options", "limit"), [({}, LENGTH - 1), ({"sliding_window": 20}, 19)])
@pytest.mark.parametrize("kind", LAG_MAPS)
def test_where_no_lag_exceeds_the_limit_the_model_attends_by_itself(kind, options, limit):
    spec, heads, kv_heads, _, pairs = CASES["half"]
    _, call = make_call(torch.float64, heads, kv_heads, spec, options, lambda *_, **__: "the model's own")
    for within, shorter in ((True, 0), (False, 0.5)):
        limits = common(pairs, limit - shorter)
        target = Target(0, spec.inv_freq, spec.channels, pairs, limits)
        found = limit_lags(call, target, Intervention(kind, limit=limit - shorter), POSITIONS)
        assert (found == "the model's own") == within


REFUSED = {"is_causal": (False, "not causal"), "position_bias": (torch.zeros(1), "a bias by position"),
           "output_attentions": (True, "weights to be returned")}  # fmt: skip


@pytest.mark.parametrize("option", REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(option):
    value, said = REFUSED[option]
    spec, heads, kv_heads, _, pairs = CASES["half"]
    _, call = make_call(torch.float64, heads, kv_heads, spec, {option: value})
    with pytest.raises(ModelError, match=said):
        attend(call, spec, "fold", common(pairs, 9))


@pytest.mark.parametrize("kind", LAG_MAPS)
def test_memory_does_not_grow_with_the_square_of_the_length(kind):
    """No block of logits exceeds the budget, however long the sequence."""
    sizes = []
    real = streaming.mask_logits

    def watch(logits, *rest):
        sizes.append(logits.numel())
        return real(logits, *rest)

    length, spec = 3000, make_spec()
    x = torch.randn(1, 1, length, HEAD_DIM, generator=torch.Generator().manual_seed(0))
    call = AttentionCall(nn.Module().eval(), 0, x, x, x, None, {}, no_model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "mask_logits", watch)
        patch.setattr(streaming, "LOGITS_AT_ONCE", 30_000)
        attend(call, spec, kind, {0: {3: 9.0}}, torch.arange(length))
    assert len(sizes) == 300
    assert max(sizes) <= 30_000
