"""TransformerLens as an independent witness: its hooks and our capture must tell the same story."""

import numpy as np
import pytest
import torch

import ropediag
from ropediag.rope import rotate
from ropediag.tune.tokenizer import byte_tokenizer
from tests.families import tiny_model

LAYERS, HEADS, KV_HEADS, LENGTH, TRAIN_LEN = 2, 6, 2, 120, 40
GROUP = HEADS // KV_HEADS
HOOKS = ("hook_rot_q", "hook_rot_k", "hook_attn_scores")


@pytest.fixture(scope="module")
def ids():
    return torch.randint(256, (1, LENGTH), generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def testimony(ids, tmp_path_factory):
    """What TransformerLens saw: hook name -> float64 array without the batch axis."""
    from transformer_lens.model_bridge import TransformerBridge

    folder = tmp_path_factory.mktemp("model")
    model = tiny_model("llama", vocab_size=256)  # the bridge rebuilds the model that it is given
    model.save_pretrained(folder)
    bridge = TransformerBridge.boot_transformers(str(folder), hf_model=model, tokenizer=byte_tokenizer())
    _, cache = bridge.run_with_cache(ids, names_filter=lambda name: name.endswith(HOOKS))
    return {name: values[0].double().numpy() for name, values in cache.items()}


@pytest.fixture(scope="module")
def capture(ids, tmp_path_factory):
    every = tuple((layer, head) for layer in range(LAYERS) for head in range(HEADS))
    path = ropediag.capture_model(
        tiny_model("llama", vocab_size=256),
        ids,
        tmp_path_factory.mktemp("capture") / "witness.h5",
        train_len=TRAIN_LEN,
        rows=4,
        keep_qk=every,
    )
    with ropediag.open_capture(path) as capture:
        yield capture


@pytest.fixture(scope="module", params=range(LAYERS))
def layer(request):
    return request.param


def contributions(testimony, capture, layer):
    """(query_head, pair, query, key) from the rotated queries and keys that the witness saw."""
    query = testimony[f"blocks.{layer}.attn.hook_rot_q"].swapaxes(0, 1)
    key = testimony[f"blocks.{layer}.attn.hook_rot_k"].swapaxes(0, 1).repeat(GROUP, axis=0)
    half = query.shape[-1] // 2  # llama pairs channel n with n + half: written out, not read from the capture
    assert capture["rope/inv_freq"].sizes["pair"] == half
    products = np.einsum("htc,hsc->chts", query, key) / np.sqrt(query.shape[-1])
    return (products[:half] + products[half:]).swapaxes(0, 1)


def lag_bins(capture):
    """Each lag bin as a mask over (query, key)."""
    edges = capture.values("lag")
    lag = np.arange(LENGTH)[:, None] - np.arange(LENGTH)
    return [(lag >= a) & (lag < b) for a, b in zip(edges, [*edges[1:], LENGTH], strict=True)]


@pytest.mark.parametrize("side", ["query", "key"])
def test_kept_vectors_rotated_again_are_what_the_witness_saw(testimony, capture, layer, side):
    spec = capture.spec()
    geometry = {"inv_freq": spec.inv_freq[layer], "channels": spec.channels[layer],
                "attention_factor": spec.attention_factor[layer]}  # fmt: skip
    kept = capture[f"samples/kept_{side}"].values[0, layer * HEADS : (layer + 1) * HEADS].astype(np.float64)
    seen = testimony[f"blocks.{layer}.attn.hook_rot_{side[0]}"].swapaxes(0, 1)
    if side == "key":
        seen = seen.repeat(GROUP, axis=0)
    ours = np.stack([rotate(vectors, np.arange(LENGTH), **geometry) for vectors in kept])
    np.testing.assert_allclose(ours, seen, atol=1e-5 * np.abs(seen).max())
    assert np.abs(kept - seen).max() > 0.1 * np.abs(seen).max()  # they do turn


def test_means_and_spreads_by_lag_are_those_of_the_witness(testimony, capture, layer):
    values = contributions(testimony, capture, layer)
    scale = 1e-5 * np.abs(values).max()
    for bin_, inside in enumerate(lag_bins(capture)):
        ours = {name: capture[f"scores/{name}"].values[layer, ..., bin_] for name in ("mean", "std")}
        np.testing.assert_allclose(ours["mean"], values[..., inside].mean(-1), atol=scale)
        np.testing.assert_allclose(ours["std"], values[..., inside].std(-1), atol=scale)


def test_pairs_and_rest_sum_to_the_logits_of_the_witness(testimony, capture, layer):
    logits = testimony[f"blocks.{layer}.attn.hook_attn_scores"]
    assert (logits[:, ~np.tri(LENGTH, dtype=bool)] < -1e30).all()  # masked
    mean = capture["scores/mean"].values[layer].astype(np.float64)
    total = mean.sum(axis=1) + np.nan_to_num(capture["scores/rest_mean"].values[layer])
    scale = 1e-5 * np.abs(logits[:, np.tri(LENGTH, dtype=bool)]).max()
    for bin_, inside in enumerate(lag_bins(capture)):
        np.testing.assert_allclose(total[:, bin_], logits[:, inside].mean(-1), atol=scale)


def test_logsumexp_of_the_sampled_rows_is_that_of_the_witness(testimony, capture, layer):
    logits = testimony[f"blocks.{layer}.attn.hook_attn_scores"]
    rows = capture["rows/query_position"].values[0]
    theirs = np.stack([np.logaddexp.reduce(logits[:, row, : row + 1], axis=-1) for row in rows], axis=-1)
    np.testing.assert_allclose(capture["rows/logsumexp"].values[0, layer], theirs, atol=1e-4)
