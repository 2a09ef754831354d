"""Parts of a model that take some positions at a time: the same numbers, in less memory."""

import numpy as np
import pytest
import torch
from torch import nn

import ropediag
from ropediag.capture.check import check_blocks
from ropediag.config import CaptureConfig
from ropediag.errors import ConfigError
from ropediag.models import blocks
from ropediag.models.economy import Economy, find_positionwise
from ropediag.models.load import load_model
from ropediag.models.tap import AttentionCall, tap_attention
from ropediag.testing.tiny import random_tokens, tiny_model
from ropediag.text import read_token_sequences

LENGTH = 300
OPTIONS = {"train_len": 48, "rows": 8}
DEMO = {"train_len": 256, "rows": 8, "excess": False, "name": "demo"}


RULES = {
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "longrope": {"rope_type": "longrope", "original_max_position_embeddings": 128, "factor": 4.0,
                 "short_factor": [1.0] * 8, "long_factor": [1.0 + n for n in range(8)]},
}  # fmt: skip


def parts_by_name(model):
    names = {part: name for name, part in model.named_modules()}
    return {names[part] for part in find_positionwise(model, random_tokens(100))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Captures in one piece, by family."""
    made = {}

    def capture(family):
        if family not in made:
            path = tmp_path_factory.mktemp("whole") / f"{family}.h5"
            model, ids = tiny_model(family), random_tokens(LENGTH)
            made[family] = ropediag.capture_model(model, ids, path, chunk=LENGTH, name=family, **OPTIONS)
        return made[family]

    return capture


@pytest.fixture(scope="module")
def demo_model():
    """The bundled model and 8,192 tokens of its text."""
    loaded = load_model("demo")
    return loaded.model, read_token_sequences(None, loaded.tokenizer, 8192, 1, 0)


@pytest.fixture(scope="module")
def demo_whole(demo_model, tmp_path_factory):
    return ropediag.capture_model(
        *demo_model, tmp_path_factory.mktemp("demo") / "whole.h5", chunk=8192, **DEMO
    )


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gemma2", "deepseek_v3", "gpt_neox", "lfm2"])
@pytest.mark.parametrize("chunk", [1, 7, 100, 299])
def test_chunks_of_any_size_give_the_same_statistics(family, chunk, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "LONGEST_SQUARE", 100)
    monkeypatch.setattr(blocks, "VALUES", 4 * LENGTH * 50)
    path = tmp_path / "chunked.h5"
    model, ids = tiny_model(family), random_tokens(LENGTH)
    ropediag.capture_model(model, ids, path, chunk=chunk, name=family, **OPTIONS)
    with ropediag.open_capture(whole(family)) as one, ropediag.open_capture(path) as other:
        assert one.variables == other.variables
        spread = np.nanmedian(one.values("scores/std"))
        for name in ("mean", "std", "lag_mean_min", "lag_mean_max"):
            expected, found = one.values(f"scores/{name}"), other.values(f"scores/{name}")
            np.testing.assert_allclose(found, expected, atol=2e-5 * spread, rtol=2e-5, err_msg=name)
        np.testing.assert_allclose(other.values("loss/nll"), one.values("loss/nll"), atol=2e-4)


@pytest.mark.parametrize("rule", RULES)
def test_frequencies_that_follow_the_length_are_those_of_the_whole_text(rule, tmp_path):
    def capture(length, **options):
        rope = {"rope_theta": 1e4, **RULES[rule]}
        family = "phi3" if rule == "longrope" else "llama"
        lengths = {"max_position_embeddings": 128, "original_max_position_embeddings": 128}
        model = tiny_model(family, rope_parameters=rope, **lengths)
        path = tmp_path / f"{length}-{options}.h5"
        ropediag.capture_model(model, random_tokens(length), path, **OPTIONS, **options)
        with ropediag.open_capture(path) as capture:
            return {name: capture.values(name) for name in ("rope/inv_freq", "scores/mean", "loss/nll")}

    whole, chunked = capture(LENGTH), capture(LENGTH, chunk=70)
    assert not np.allclose(capture(70)["rope/inv_freq"], whole["rope/inv_freq"])
    for name, values in whole.items():
        np.testing.assert_allclose(chunked[name], values, atol=2e-4, rtol=1e-4, err_msg=name)


def test_norms_and_feed_forward_parts_are_found():
    layers = {f"model.layers.{index}." for index in range(4)}
    parts = ("input_layernorm", "post_attention_layernorm", "mlp")
    assert parts_by_name(tiny_model("llama")) == {layer + part for layer in layers for part in parts} | {
        "model.norm"
    }


def test_what_looks_at_other_positions_is_left_whole():
    found = parts_by_name(tiny_model("lfm2"))  # its short convolutions look back
    assert any(name.endswith("feed_forward") for name in found)
    assert not any("conv" in name.split(".")[-1] for name in found)


class Shift(nn.Module):
    """Adds to each position half of the one before."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        y = self.inner(x)
        return y + torch.cat([y[:, :1], y[:, :-1]], dim=1) / 2


def test_a_feed_forward_part_with_a_memory_is_not_chunked_but_what_it_holds_is():
    model = tiny_model("llama")
    model.model.layers[2].mlp = Shift(model.model.layers[2].mlp)
    found = parts_by_name(model)
    assert "model.layers.2.mlp" not in found
    assert {"model.layers.1.mlp", "model.layers.2.mlp.inner"} <= found


def test_the_model_is_as_it_was_after_an_error():
    model = tiny_model("llama")
    forward = model.model.layers[0].mlp.forward
    economy = Economy(find_positionwise(model, random_tokens(50)), 10, True)

    def fail():
        with economy.applied():
            assert model.model.layers[0].mlp.forward != forward
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert model.model.layers[0].mlp.forward == forward
    assert "forward" not in vars(model.model.layers[0].mlp)


def test_windows_of_sdpa_run_in_blocks_and_full_layers_keep_their_own_kernel():
    model, ids = tiny_model("gemma3_text"), random_tokens(LENGTH)
    assert check_blocks(model, ids)
    masks = []

    def attend(call: AttentionCall):
        masks.append(None if call.mask is None else type(call.mask).__name__)
        return call.attend()

    with torch.no_grad():
        plain = model(ids, use_cache=False).logits
        with Economy(in_blocks=True).applied(), tap_attention(model, attend):
            blocked = model(ids, use_cache=False).logits
    assert masks == ["LazyMask", None, "LazyMask", None]
    torch.testing.assert_close(blocked, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("chunk", [0, -1])
def test_a_chunk_without_a_token_is_refused(chunk):
    with pytest.raises(ConfigError, match="chunk must be at least 1"):
        CaptureConfig("model", 100, chunk=chunk)


@pytest.mark.parametrize("chunk", [1000, 3000, 8191])
def test_the_bundled_model_gives_the_same_file_within_a_millionth_of_each_spread(
    chunk, demo_model, demo_whole, tmp_path
):
    path = ropediag.capture_model(*demo_model, tmp_path / "chunked.h5", chunk=chunk, **DEMO)
    with ropediag.open_capture(demo_whole) as one, ropediag.open_capture(path) as other:
        spread = one.values("scores/std")
        for name in ("mean", "std", "lag_mean_min", "lag_mean_max"):
            missed = np.abs(other.values(f"scores/{name}") - one.values(f"scores/{name}"))
            assert np.all((missed <= 1e-6 * spread) | ~np.isfinite(missed)), name
