"""Interventions on whole models: equal to models edited by hand, or to the model where nothing changes."""

import math

import pytest
import torch

from ropediag.errors import ConfigError, ModelError
from ropediag.evaluate import scale_attention
from ropediag.intervene import Intervention, intervene
from ropediag.intervene.apply import read_positions
from ropediag.intervene.intervention import KINDS, LIMITED
from ropediag.intervene.kinds import CARRY_OUT
from ropediag.intervene.selection import find_targets
from ropediag.intervene.turning import turn_frequencies
from ropediag.models.rotation import measure_rotation
from ropediag.models.tap import tap_attention
from ropediag.rope import inv_freq
from tests.families import FAMILIES, tiny_model, tokens
from tests.vector_instructions import computes_bfloat16

SETTING = {"clip": {"limit": 15}, "fold": {"limit": 15}, "freeze": {}, "interpolate": {"factor": 4.0},
           "log": {"train_len": 20}, "rebase": {"base": 700.0}, "zero": {}}  # fmt: skip


def logits(model, ids, change=None, **options):
    with torch.no_grad():
        if change is None:
            return model(ids, use_cache=False).logits
        with intervene(model, change, **options):
            return model(ids, use_cache=False).logits


def close(a, b, tolerance=2e-4):
    torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


def test_every_kind_has_its_function():
    assert set(CARRY_OUT) == set(KINDS) == set(SETTING)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_changes_where_nothing_is_chosen(family):
    model, ids = tiny_model(family), tokens(70)
    plain = logits(model, ids)
    for kind, setting in SETTING.items():
        if kind != "log":
            assert torch.equal(logits(model, ids, Intervention(kind, pairs=(), **setting)), plain), kind
            assert torch.equal(logits(model, ids, Intervention(kind, pairs={(0, 0): ()}, **setting)), plain)
    for kind in LIMITED:
        assert torch.equal(logits(model, ids, Intervention(kind, limit=69)), plain), kind
        beyond = {(0, 0): {0: math.inf, 1: 69.0}}
        assert torch.equal(logits(model, ids, Intervention(kind, limits=beyond)), plain), kind
    close(logits(model, ids, Intervention("interpolate", factor=1.0)), plain)
    assert torch.equal(logits(model, ids, Intervention("log", train_len=70)), plain)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", SETTING)
def test_every_kind_changes_every_family_and_leaves_it_as_it_was(family, kind):
    model, ids = tiny_model(family), tokens(70)
    plain = logits(model, ids)
    changed = logits(model, ids, Intervention(kind, **SETTING[kind]))
    assert (changed - plain).abs().max() > 1e-2
    assert torch.equal(logits(model, ids), plain)
    if kind in (*LIMITED, "log"):  # nothing changes up to the limit, in a later layer neither
        close(changed[:, : SETTING[kind].get("limit", 20)], plain[:, : SETTING[kind].get("limit", 20)])


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt_neox", "cohere2", "gemma2", "gpt_oss"])
@pytest.mark.parametrize("kind", ["freeze", "interpolate", "rebase"])
def test_other_frequencies_are_those_of_a_model_with_edited_buffers(family, kind):
    model, ids, pairs = tiny_model(family), tokens(70), (1, 3)
    found = logits(model, ids, Intervention(kind, pairs=pairs, **SETTING[kind]))
    count = 0
    for module in model.modules():
        buffer = getattr(module, "inv_freq", None)
        if buffer is not None:
            chosen, count = list(pairs), count + 1
            new = {"freeze": 0 * buffer, "interpolate": buffer / 4,
                   "rebase": torch.tensor(inv_freq(2 * len(buffer), 700.0)).float()}  # fmt: skip
            buffer[chosen] = new[kind][chosen]
    assert count
    close(found, logits(model, ids))


def test_a_layer_that_does_not_rotate_is_left_alone():
    model, ids = tiny_model("cohere2"), tokens(70)
    found = logits(model, ids, Intervention("zero"))
    close(found, logits(model, ids, Intervention("zero", layers=(0,))))
    with pytest.raises(ConfigError, match="no pair to work on"):
        logits(model, ids, Intervention("zero", layers=(1,)))


def test_zeroed_pairs_are_those_of_a_model_without_their_query_weights():
    model, ids = tiny_model("llama"), tokens(70)
    found = logits(model, ids, Intervention("zero", pairs=(1, 2), layers=(1,), heads=(0, 4)))
    weight = model.model.layers[1].self_attn.q_proj.weight.data.view(6, 8, -1)
    for head in (0, 4):
        weight[head, [1, 5, 2, 6]] = 0
    close(found, logits(model, ids))


@pytest.mark.parametrize("family", ["llama", "gpt_oss"])
def test_each_head_gets_its_own_keys(family):
    """One head changed: its output is that of a layer changed whole, the others' that of the model."""
    model, ids = tiny_model(family), tokens(60)
    rotation = measure_rotation(model, torch.tensor([60]).numpy())
    by_head = {(1, 0): (1,), (1, 1): (1,), (1, 2): (2, 3), (1, 5): (0,)}
    change = Intervention("freeze", pairs=by_head)
    seen = {}

    def compare(call):
        if call.layer == 1:
            positions = read_positions(call)
            seen["mixed"] = turn_frequencies(call, find_targets(change, rotation)[1], change, positions)[0]
            seen[()] = call.attend()[0]
            for pairs in {(1,), (2, 3), (0,)}:
                whole = Intervention("freeze", pairs=pairs)
                target = find_targets(whole, rotation)[1]
                seen[pairs] = turn_frequencies(call, target, whole, positions)[0]
        return call.attend()

    with torch.no_grad(), tap_attention(model, compare):
        model(ids, use_cache=False)
    for head in range(6):
        pairs = by_head.get((1, head), ())
        close(seen["mixed"][:, :, head], seen[pairs][:, :, head], 1e-5)
        if pairs:
            assert (seen[pairs][:, :, head] - seen[()][:, :, head]).abs().max() > 1e-3


def test_log_scaled_attention_is_that_of_evaluate():
    model, ids = tiny_model("llama"), tokens(70)
    with torch.no_grad(), scale_attention(model, 20):
        expected = model(ids, use_cache=False).logits
    assert torch.equal(logits(model, ids, Intervention("log", train_len=20)), expected)
    one = logits(model, ids, Intervention("log", train_len=20, layers=(1,), heads=(2,)))
    assert 0 < (one - logits(model, ids)).abs().max() < (expected - logits(model, ids)).abs().max()


@computes_bfloat16
def test_a_model_in_bfloat16_is_changed_as_in_float32():
    model, ids = tiny_model("llama"), tokens(70)
    change = Intervention("clip", pairs=(1, 2, 3), limit=20)
    exact, plain = logits(model, ids, change), logits(model, ids)
    rough = logits(model.to(torch.bfloat16), ids, change).float()
    assert (rough - exact).abs().mean() < 0.2 * (plain - exact).abs().mean()


@pytest.mark.parametrize("kind", LIMITED)
def test_limits_of_each_pair_are_those_that_are_given(kind):
    """The same for all: as one limit; one for each changes the model, and an infinite one does not."""
    model, ids = tiny_model("llama"), tokens(70)

    def everywhere(limits):
        return {(layer, head): limits for layer in range(2) for head in range(6)}

    one = logits(model, ids, Intervention(kind, pairs=(1, 3), limit=20))
    same = everywhere({1: 20.0, 3: 20.0})
    assert torch.equal(logits(model, ids, Intervention(kind, limits=same)), one)
    nearly = everywhere({1: 20.0, 3: 20.0 + 1e-9})
    close(logits(model, ids, Intervention(kind, limits=nearly)), one)
    alone = logits(model, ids, Intervention(kind, limits=everywhere({1: 20.0, 3: math.inf})))
    close(alone, logits(model, ids, Intervention(kind, pairs=(1,), limit=20)))
    assert (alone - one).abs().max() > 1e-2
    single = logits(model, ids, Intervention(kind, limits={(1, 2): {3: 33.5}}))
    assert (single - logits(model, ids)).abs().max() > 1e-3


def test_frequencies_that_depend_on_the_length_are_asked_for():
    scaled = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    model, ids = tiny_model("llama", rope_parameters=scaled, max_position_embeddings=64), tokens(1500)
    with pytest.raises(ModelError, match="Pass the length"):
        logits(model, ids, Intervention("freeze", pairs=(2,)))
    found = logits(model, ids, Intervention("freeze", pairs=(2,)), length=1500)
    assert (found - logits(model, ids)).abs().max() > 1e-2


def test_what_an_intervention_cannot_see_through_is_refused():
    model, change = tiny_model("llama"), Intervention("freeze")
    with torch.no_grad(), intervene(model, change):
        with pytest.raises(ModelError, match="already inside"), intervene(model, change):
            pass
        with pytest.raises(ModelError, match="positions that rise by one"):
            model(tokens(4), position_ids=torch.tensor([[0, 0, 1, 2]]), use_cache=False)
        with pytest.raises(ModelError, match="without a cache"):
            model.generate(tokens(4), max_new_tokens=3, do_sample=False)
    with (
        pytest.raises(ModelError, match="attention registry"),
        intervene(tiny_model("roformer"), change),
    ):
        pass


def test_attention_that_does_more_than_is_known_cannot_be_clipped(monkeypatch):
    model = tiny_model("gemma2")
    monkeypatch.setattr("ropediag.models.tap.AttentionCall.softcap", None)  # as if there were no word for it
    with pytest.raises(ModelError, match=r"layer 0: the lag cannot be limited exactly"):
        logits(model, tokens(30), Intervention("clip", limit=9))
    logits(model, tokens(30), Intervention("freeze"))


BAD = {
    "unknown kind": (("melt",), {}, "kind must be one of"),
    "no limit": (("clip",), {}, "clip needs limit"),
    "a limit too many": (("zero",), {"limit": 3}, "zero takes no limit"),
    "negative limit": (("clip",), {"limit": -1}, "at least 0"),
    "fold at nothing": (("fold",), {"limit": 0}, "limit of fold must be above 0"),
    "endless limit": (("clip",), {"limit": math.inf}, "must be finite"),
    "limit that is no number": (("fold",), {"limits": {(0, 0): {1: math.nan}}}, "above 0 tokens: got nan"),
    "limits and limit": (("clip",), {"limit": 3, "limits": {}}, "give one of them"),
    "limits for another kind": (("zero",), {"limits": {}}, "zero takes no limits"),
    "limits and pairs": (("clip", (1,)), {"limits": {(0, 0): {1: 2.0}}}, "give no others"),
    "limits of no pair": (("clip",), {"limits": {(0, 0): {-1: 2.0}}}, "whole numbers"),
    "factor of zero": (("interpolate",), {"factor": 0.0}, "factor must be above 0"),
    "base of one": (("rebase",), {"base": 1.0}, "base must be"),
    "pairs for log": (("log", (1,)), {"train_len": 9}, "takes no pairs"),
    "negative pair": (("zero", (-1,)), {}, "whole numbers"),
    "layers twice": (("zero", {(0, 0): (1,)}), {"layers": (0,)}, "name their layers"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_intervention_is_refused_before_a_model_is_there(case):
    words, options, said = BAD[case]
    with pytest.raises(ConfigError, match=said):
        Intervention(*words, **options)


@pytest.mark.parametrize(("options", "said"), [
    ({"pairs": (4,)}, "no pair 4"), ({"layers": (2,)}, "no layer 2"), ({"heads": (6,)}, "no head 6"),
    ({"pairs": {(2, 0): (1,)}}, "no layer 2, head 0"), ({"pairs": {(0, 0): (4,)}}, "has no pair 4"),
    ({"limits": {(2, 0): {1: 9.0}}}, "no layer 2, head 0"), ({"limits": {(0, 0): {4: 9.0}}}, "has no pair 4"),
])  # fmt: skip
def test_what_the_model_does_not_have_is_refused(options, said):
    kind = "fold" if "limits" in options else "zero"
    with (
        pytest.raises(ConfigError, match=said),
        intervene(tiny_model("llama"), Intervention(kind, **options)),
    ):
        pass
