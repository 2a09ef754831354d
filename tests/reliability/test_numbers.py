"""Any model, length, type, chunk: a capture holds what slow loops over all queries and keys find."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ropediag import capture_model, open_capture
from ropediag.errors import CaptureError, ModelError
from tests.families import tiny_model, tokens
from tests.reliability.spy import contributions, spy
from tests.trials import Trials, long_or

TYPES = (torch.float32, torch.bfloat16, torch.float16)
PLAIN = {"suppress_health_check": list(HealthCheck), "deadline": None, "derandomize": True}


@st.composite
def models(draw):
    """A tiny model: layout, groups of heads, widths, type; with its tokens and how it is captured."""
    family = draw(st.sampled_from(["llama", "qwen3", "gpt_neox", "cohere2", "glm"]))
    kv_heads, group, width = draw(st.integers(1, 3)), draw(st.integers(1, 3)), 2 * draw(st.integers(2, 7))
    layers, heads = draw(st.integers(1, 3)), kv_heads * group
    sizes = {"num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads}
    sizes |= {"head_dim": width, "hidden_size": heads * width}
    if family == "gpt_neox":  # whose heads all have keys of their own, and rotate a half, in pairs
        width += width % 4
        sizes = {"num_hidden_layers": layers, "num_attention_heads": heads, "hidden_size": heads * width}
    if family == "glm":  # which rotates the first half of each head, neighbours in a pair
        sizes |= {"head_dim": width + width % 4}
    if family == "cohere2":
        sizes |= {"layer_types": ["sliding_attention", "full_attention", "full_attention"][:layers]}
    length = draw(st.integers(2, 70))
    options = {
        "chunk": draw(st.sampled_from([None, 1, 7, 64])),
        "rows": draw(st.integers(1, 5)),
        "train_len": draw(st.integers(2, 40)),
        "seed": draw(st.integers(0, 9)),
    }
    model = tiny_model(family, draw(st.integers(0, 99)), **sizes)
    return model.to(draw(st.sampled_from(TYPES))), tokens(length, draw(st.integers(0, 99))), options


def bins_of(edges, length):
    return list(zip(edges, [*edges[1:], length], strict=True))


def expect_scores(parts, lags, window, capture, layer):
    """Means and spreads of each bin of lags, by looking at every query and key."""
    length = len(lags)
    for place, (low, high) in enumerate(bins_of(capture.values("lag").tolist(), length)):
        inside = (lags >= low) & (lags < min(high, window))
        assert capture.values("scores/count", layer=layer)[place] == inside.sum()
        found = {name: capture.values(f"scores/{name}", layer=layer)[..., place] for name in ("mean", "std")}
        if not inside.any():
            assert all(np.isnan(values).all() for values in found.values())
            continue
        values = parts[:, :, inside]
        yield found["mean"], values.mean(axis=-1)
        yield found["std"], values.std(axis=-1)
        single = np.stack([parts[:, :, lags == lag].mean(axis=-1) for lag in range(low, min(high, window))])
        yield capture.values("scores/lag_mean_min", layer=layer)[0, ..., place], single.min(axis=0)
        yield capture.values("scores/lag_mean_max", layer=layer)[0, ..., place], single.max(axis=0)


def expect_partial(parts, visible, capture, layer):
    """Partial logits by bin of query positions: means over what each query sees."""
    critical = int(capture.values("rope/critical_pair", layer=layer))
    for side, pairs in (("before", slice(0, critical)), ("past", slice(critical, None))):
        logit = parts[:, pairs].sum(axis=1)
        edges = capture.values("position_bin").tolist()
        for place, (low, high) in enumerate(bins_of(edges, logit.shape[-1])):
            rows = [logit[:, query, visible[query]] for query in range(low, high)]
            mean = np.mean([row.mean(axis=-1) for row in rows], axis=0)
            spread = np.sqrt(np.mean([row.var(axis=-1) for row in rows], axis=0))
            for what, right in (("mean", mean), ("std", spread)):
                yield capture.values(f"partial/{side}_{what}", layer=layer)[0, :, place], right


def expect_rows(seen, visible, capture, layer):
    """The softmax of the sampled queries."""
    key = seen.key.repeat(len(seen.query) // len(seen.key), axis=0)
    for place, query in enumerate(capture.values("rows/query_position")[0].tolist()):
        logits = np.einsum("hc,hjc->hj", seen.query[:, query], key[:, visible[query]]) * seen.scaling
        largest = logits.max(axis=-1)
        total = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=-1))
        weights = np.exp(logits - total[:, None])
        entropy = -(weights * (logits - total[:, None])).sum(axis=-1)
        for name, right in (("logsumexp", total), ("entropy", entropy), ("max_weight", weights.max(axis=-1))):
            yield capture.values(f"rows/{name}", layer=layer)[0, :, place], right


def compare(model, ids, options, folder):
    """Capture a model, and hold all of it against the loops."""
    with spy(model) as calls:
        model(ids)
    path = capture_model(model, ids, folder / "x.h5", force=True, **options)
    length = ids.shape[1]
    lags = np.arange(length)[:, None] - np.arange(length)
    with open_capture(path) as capture:
        for layer, seen in calls.items():
            pairs = int((capture.values("rope/inv_freq", layer=layer) > 0).sum())
            window = int(capture.values("rope/window", layer=layer))
            window = length if window < 0 else window
            visible = (lags >= 0) & (lags < window)
            expected = list(expect_rows(seen, visible, capture, layer))
            if pairs:
                parts = contributions(seen, capture.values("rope/channels", layer=layer)[:pairs])
                expected += expect_scores(parts, lags, window, capture, layer)
                expected += expect_partial(parts, visible, capture, layer)
            size = max(1.0, float(np.abs(seen.query).max() * np.abs(seen.key).max()))
            for found, right in expected:
                held = found[..., :pairs] if found.ndim == 2 else found  # of fewer pairs than another layer
                np.testing.assert_allclose(held, right, rtol=1e-4, atol=3e-6 * size)


def test_a_capture_holds_what_loops_over_all_queries_and_keys_find(tmp_path):
    with Trials("captures of random models, compared with loops over all queries and keys") as trials:

        @settings(max_examples=long_or(300, 12), **PLAIN)
        @given(models())
        def check(drawn):
            with trials.one():
                compare(*drawn, tmp_path)

        check()


def spoil(model, place, value):
    """Let a chosen part of the model give a value that is no number, or one too large for its type."""
    layer, part, channel = place
    chosen = dict(model.model.layers[layer].named_modules())[part]

    def hook(_module, _inputs, output):
        changed = output.clone()
        changed[..., -1, channel % output.shape[-1]] = value
        return changed

    return chosen.register_forward_hook(hook)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_not_finite_is_named_with_its_layer_and_nothing_is_written(tmp_path):
    parts = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.down_proj", "input_layernorm")
    with Trials("models with NaN, infinity or overflow in one layer: named, nothing written") as trials:

        @settings(max_examples=long_or(300, 12), **PLAIN)
        @given(
            st.integers(0, 2), st.sampled_from(parts), st.integers(0, 47),
            st.sampled_from(["nan", "inf", "-inf", "overflow"]), st.sampled_from(TYPES[1:]),
        )  # fmt: skip
        def check(layer, part, channel, kind, dtype):
            model = tiny_model("llama", num_hidden_layers=3).to(dtype)
            value = 4 * torch.finfo(dtype).max if kind == "overflow" else float(kind)
            handle = spoil(model, (layer, part, channel), value)
            with trials.one():
                with pytest.raises((CaptureError, ModelError)) as raised:
                    capture_model(model, tokens(50), tmp_path / "x.h5", train_len=20)
                handle.remove()
                said = str(raised.value)
                after = f"layer {layer + 1}:" if layer < 2 else "the logits of llama are NaN or infinite"
                assert f"layer {layer}:" in said or after in said, f"{part} of layer {layer}: {said}"
                assert not list(tmp_path.iterdir())

        check()
