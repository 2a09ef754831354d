"""A TransformerBridge is captured and intervened in as its model is; its hook points against the tap."""

import json

import numpy as np
import pytest
import torch

import ropediag
from ropediag.errors import ModelError
from ropediag.intervene import Intervention, intervene
from ropediag.lens import HOOKS, compare_hooks
from ropediag.models.bridge import is_bridge, native_model
from ropediag.models.tap import tap_attention
from ropediag.testing.tiny import random_tokens, tiny_model

FIRE = [
    "cohere2",
    "deepseek_v3",
    "gemma2",
    "gemma3_text",
    "glm4",
    "gpt_oss",
    "llama",
    "olmo2",
    "qwen2",
    "qwen3",
]
SILENT = ["gpt_neox", "phi3", "falcon"]  # rotated queries and keys; scores do fire


@pytest.fixture(scope="module")
def boot(tmp_path_factory):
    """Give a function from a type to a bridge over a tiny model, loaded as ``ropediag.lens`` says."""
    from tokenizers import Tokenizer, models
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"t{token}": token for token in range(64)}, unk_token="t0"))
    names = {"unk_token": "t0", "bos_token": "t1", "eos_token": "t2", "pad_token": "t0"}

    def boot_bridge(model_type):
        path, model = tmp_path_factory.mktemp(model_type), tiny_model(model_type)
        model.save_pretrained(path)
        PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(path)
        tokenizer = AutoTokenizer.from_pretrained(path)
        return TransformerBridge.boot_transformers(str(path), hf_model=model, tokenizer=tokenizer)

    return boot_bridge


@pytest.mark.parametrize("model_type", FIRE)
def test_hook_points_are_what_the_tap_hears(boot, model_type):
    missed = compare_hooks(boot(model_type), random_tokens(40))
    assert set(missed) == set(HOOKS)
    assert max(missed.values()) < 1e-5


@pytest.mark.parametrize("model_type", SILENT)
def test_a_hook_that_does_not_fire_is_named_and_the_scores_agree(boot, model_type):
    bridge = boot(model_type)
    for hook in ("hook_rot_q", "hook_rot_k"):
        with pytest.raises(ModelError, match=rf"blocks\.0\.attn\.{hook} did not fire on {model_type}"):
            compare_hooks(bridge, random_tokens(40), (hook,))
    assert compare_hooks(bridge, random_tokens(40), ("hook_attn_scores",))["hook_attn_scores"] < 1e-5


def test_hooks_are_a_bridges():
    with pytest.raises(ModelError, match="got LlamaForCausalLM"):
        compare_hooks(tiny_model("llama"), random_tokens(8))


@pytest.mark.parametrize("model_type", ["llama", "gpt_neox", "gpt_oss"])
def test_a_bridge_is_captured_as_its_model_is(boot, model_type, tmp_path):
    bridge, model = boot(model_type), tiny_model(model_type)
    model.set_attn_implementation("eager")
    modules, ids = list(bridge.original_model.modules()), random_tokens(60)
    options = {"train_len": 16, "rows": 4, "name": "same", "excess": False}
    paths = [ropediag.capture_model(given, ids, tmp_path / name, **options)
             for given, name in ((bridge, "bridge.h5"), (model, "model.h5"))]  # fmt: skip
    assert list(bridge.original_model.modules()) == modules
    with ropediag.open_capture(paths[0]) as one, ropediag.open_capture(paths[1]) as other:
        for path in ("scores/mean", "scores/std", "rows/entropy", "loss/nll", "vectors/angle"):
            np.testing.assert_array_equal(one.values(path), other.values(path), err_msg=path)


def test_an_intervention_in_a_bridge_is_one_in_its_model(boot):
    bridge, model, ids = boot("llama"), tiny_model("llama"), random_tokens(60)
    model.set_attn_implementation("eager")
    change = Intervention("clip", limit=15)
    with torch.no_grad():
        before = bridge(ids, return_type="logits")
        with intervene(model, change):
            expected = model(ids, use_cache=False).logits
        with intervene(bridge, change):
            found = bridge(ids, return_type="logits")
        after = bridge(ids, return_type="logits")
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (found - before).abs().max() > 1e-2
    assert torch.equal(before, after)


def test_an_ablation_takes_a_bridge(boot):
    bridge, model, ids = boot("llama"), tiny_model("llama"), random_tokens(64)
    model.set_attn_implementation("eager")
    options = {"kind": "freeze", "train_len": 32, "name": "same"}
    results = [ropediag.ablate_model(given, ids, **options) for given in (bridge, model)]
    figures = [{**result.figures(), "seconds": 0} for result in results]
    assert json.dumps(figures[0]) == json.dumps(figures[1])


def test_a_bridge_whose_hooks_change_what_passes_is_refused_until_they_are_gone(boot):
    bridge = boot("llama")
    modules = list(bridge.original_model.modules())
    bridge.add_hook("blocks.1.attn.hook_rot_q", lambda query, hook: 0 * query)
    with pytest.raises(ModelError, match="a hook of it changes what passes"), native_model(bridge):
        pass
    assert list(bridge.original_model.modules()) == modules
    bridge.reset_hooks()
    with native_model(bridge):
        pass


def test_a_bridge_with_folded_norms_is_captured_as_what_it_became(boot):
    bridge = boot("llama")
    bridge.enable_compatibility_mode()
    assert max(compare_hooks(bridge, random_tokens(40)).values()) < 1e-5


def test_other_models_pass_through():
    model = tiny_model("llama")
    assert not is_bridge(model)
    with native_model(model) as native:
        assert native is model


def test_a_capture_names_its_activations_as_transformer_lens_does(boot, tmp_path):
    """The sampled queries and keys are those that the bridge's own hooks see at these positions."""
    bridge, ids = boot("qwen3"), random_tokens(60)
    with torch.no_grad():
        _, fired = bridge.run_with_cache(ids)
    path = ropediag.capture_model(bridge, ids, tmp_path / "bridge.h5", train_len=16, rows=4, excess=False)
    with ropediag.open_capture(path) as capture:
        named = capture.to_activation_names()
    assert sorted(named) == sorted(
        f"blocks.{layer}.attn.{hook}"
        for layer in range(4)
        for hook in ("hook_q", "hook_k", "hook_rot_q", "hook_rot_k")
    )
    for name in ("hook_rot_q", "hook_rot_k"):
        found = named[f"blocks.2.attn.{name}"]
        assert found.dims == ("sequence", "position", "head", "channel")
        expected = fired[f"blocks.2.attn.{name}"][:, found.position.values].numpy()
        np.testing.assert_allclose(found.values, expected, atol=1e-4)


def test_a_bridge_in_a_block_is_heard_by_the_tap(boot):
    bridge, heard = boot("phi3"), []

    def hear(call):
        heard.append(call.layer)
        return call.attend()

    with torch.no_grad(), native_model(bridge) as native, tap_attention(native, hear):
        bridge(random_tokens(12))
    assert heard == [0, 1, 2, 3]
