"""The tap hears every attention call once and changes nothing."""

from collections import Counter

import pytest
import torch
from transformers import modeling_utils

from ropediag.errors import ModelError
from ropediag.models.tap import attention_modules, tap_attention
from tests.families import FAMILIES, tiny_model, tokens


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["default", "eager"])
def test_tapped_logits_are_bit_equal_and_each_layer_is_heard_once(family, attention):
    options = {} if attention == "default" else {"attn_implementation": attention}
    model, ids, calls = tiny_model(family, **options), tokens(80), Counter()

    def hear(call):
        calls[call.layer] += 1
        return call.attend()

    with torch.no_grad():
        plain = model(ids).logits
        with tap_attention(model, hear):
            tapped = model(ids).logits
    assert torch.equal(plain, tapped)
    assert calls == {0: 1, 1: 1}


def test_a_call_carries_what_the_model_passed():
    model, seen = tiny_model("gpt_oss"), {}

    def look(call):
        seen[call.layer] = call
        return call.attend()

    with torch.no_grad(), tap_attention(model, look):
        model(tokens(30))
    assert seen[0].query.shape == (1, 6, 30, 16)
    assert seen[0].key.shape == (1, 2, 30, 16)
    assert (seen[0].window, seen[1].window) == (24, None)
    assert seen[0].scaling == 0.25
    assert torch.equal(seen[1].sinks, model.model.layers[1].self_attn.sinks)
    assert seen[0].softcap is None


@pytest.mark.parametrize("fails", [False, True])
def test_the_registry_is_as_before_afterwards(fails):
    model = tiny_model("llama")
    registry = modeling_utils.ALL_ATTENTION_FUNCTIONS
    before, local = registry["sdpa"], dict(registry._local_mapping)

    def handler(call):
        if fails:
            raise RuntimeError("stop")
        return call.attend()

    with (
        torch.no_grad(),
        pytest.raises(RuntimeError) if fails else torch.no_grad(),
        tap_attention(model, handler),
    ):
        model(tokens(9))
    assert registry["sdpa"] is before
    assert registry._local_mapping == local


def test_other_models_are_left_alone():
    tapped, other, heard = tiny_model("llama"), tiny_model("llama", seed=5), []

    def handler(call):
        heard.append(call.module)
        return call.attend()

    with torch.no_grad(), tap_attention(tapped, handler):
        other(tokens(9))
    assert not heard


def test_attending_to_oneself_frees_the_outcome_from_the_positions():
    model, outcomes = tiny_model("llama"), []
    for shift in (0, 777):
        positions = torch.arange(12)[None] * (shift + 1)
        with torch.no_grad(), tap_attention(model, lambda call: call.attend_to_self()):
            outcomes.append(model(tokens(12), position_ids=positions).logits)
    assert torch.equal(*outcomes)


@pytest.mark.parametrize("family", ["gptj", "falcon"])
def test_models_outside_the_registry_are_heard_and_left_as_they_were(family):
    model, ids, heard = tiny_model(family, **{"gptj": {"rotary_dim": 4}}.get(family, {})), tokens(30), []
    before = [dict(vars(module)) for module in model.modules()]
    with torch.no_grad():
        plain = model(ids, use_cache=False).logits
        with tap_attention(model, lambda call: (heard.append(call.layer), call.attend())[1]):
            tapped = model(ids, use_cache=False).logits
        with tap_attention(model, lambda call: call.attend_to_self()):
            alone = model(ids, use_cache=False).logits
    assert torch.equal(plain, tapped)
    assert heard == [0, 1]
    assert not torch.equal(plain, alone)
    assert [dict(vars(module)) for module in model.modules()] == before


def test_roformer_is_refused_by_name():
    model = tiny_model("roformer")
    with pytest.raises(ModelError, match="roformer cannot be captured: its attention does not go through"):
        attention_modules(model)
