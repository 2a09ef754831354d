"""Gates against explicit ones: one for each head, pair, lag and key, whole logits, autograd."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from ropediag.attribution import gates as gates_module
from ropediag.attribution import passes as passes_module
from ropediag.attribution.far import FIRST_KEYS
from ropediag.attribution.gates import GatedLayer
from ropediag.attribution.passes import GatedModel
from ropediag.errors import ModelError
from ropediag.intervene.intervention import Intervention
from ropediag.intervene.selection import find_targets
from ropediag.models.rotation import measure_rotation
from ropediag.models.tap import tap_attention
from ropediag.schema import lag_edges
from ropediag.testing.tiny import tiny_model as tiny_of_type
from tests.families import FAMILIES, tiny_model, tokens
from tests.intervene.test_lag_limits import map_slowly

LENGTH = 40
EDGES = lag_edges(LENGTH)
SINGLE = ("gpt_oss", "deepseek_v3")  # their experts multiply in no float64


def build(family):
    """A tiny model, in float64 where its experts allow it."""
    model = tiny_model(family) if family in FAMILIES else tiny_of_type(family)
    kind = torch.float32 if family in SINGLE else torch.float64
    return model.to(kind).requires_grad_(False).eval()


def choose(model, kind, heads=None):
    """Limits for the slowest pairs, another one for each: (layer, head) -> pair -> tokens."""
    rotation = measure_rotation(model, np.array([LENGTH - 1]))
    limits = {}
    for row, layer in enumerate(rotation.layers.tolist()):
        count = rotation.spec.pair_count(row)
        for head in range(rotation.query_heads[row]):
            if count and (heads is None or head in heads):
                limits[layer, head] = {
                    pair: 7.3 + 2.6 * (pair % 4) for pair in range(max(0, count - 3), count)
                }
    return find_targets(Intervention(kind, limits=limits), rotation)


@contextmanager
def explicit(model, targets, kind, values):
    """Attend with ``values``: layer -> (head, pair, lag bin, first key or not) gates."""
    lag = torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)
    bins = torch.tensor(np.searchsorted(EDGES, lag.clamp(min=0).numpy(), "right") - 1)
    first = (torch.arange(LENGTH) < FIRST_KEYS).long().expand(LENGTH, LENGTH)

    def handle(call):
        if call.layer not in targets:
            return call.attend()
        target, outputs = targets[call.layer], []
        for head in range(call.query.shape[1]):
            kv = head // (call.query.shape[1] // call.key.shape[1])
            q, k, v = call.query[0, head], call.key[0, kv], call.value[0, kv]
            logits = q @ k.T
            for place, (pair, limit) in enumerate(target.limits.get(head, {}).items()):
                one, two = target.channels[pair]
                slowly = torch.tensor([map_slowly(kind, one, limit) for one in range(LENGTH)])
                counted = slowly[lag.clamp(min=0)]
                angle = (counted - lag) * target.inv_freq[pair]
                turned = [
                    k[:, one] * angle.cos() + k[:, two] * angle.sin(),
                    k[:, two] * angle.cos() - k[:, one] * angle.sin(),
                ]
                limited = q[:, one, None] * turned[0] + q[:, two, None] * turned[1]
                own = torch.outer(q[:, one], k[:, one]) + torch.outer(q[:, two], k[:, two])
                gate = values[call.layer][list(target.limits).index(head), place][bins, first]
                logits = logits + torch.where(lag > limit, (gate - 1) * (own - limited), 0.0)
            logits = logits * call.scaling
            if call.softcap is not None:
                logits = call.softcap * torch.tanh(logits / call.softcap)
            hidden = (lag < 0) | (lag >= (call.window or LENGTH))
            logits = logits.masked_fill(hidden, -torch.inf)
            if call.sinks is not None:
                logits = torch.cat([logits, call.sinks[head].double().expand(LENGTH, 1)], 1)
            outputs.append(logits.softmax(-1)[:, :LENGTH].to(v.dtype) @ v)
        return torch.stack(outputs, 1)[None], None

    with tap_attention(model, handle):
        yield


def differentiate(model, ids, targets, kind, gate, positions):
    """Mean loss over positions and its gradient by every gate, all at one value."""
    values = {
        layer: torch.full(
            (len(target.limits), len(next(iter(target.limits.values()))), len(EDGES), 2),
            float(gate),
            dtype=torch.float64,
            requires_grad=True,
        )
        for layer, target in targets.items()
    }
    with explicit(model, targets, kind, values):
        logits = model(input_ids=ids, use_cache=False).logits[0]
        rows = torch.tensor(positions)
        loss = torch.nn.functional.cross_entropy(logits[rows - 1].double(), ids[0, rows])
        loss.backward()
    return loss.item(), {layer: value.grad for layer, value in values.items()}


FAMILY_KINDS = [
    (family, kind)
    for family in (*FAMILIES, "deepseek_v3", "phi", "glm4")
    for kind in ("clip", "fold")
    if kind == "clip" or family in ("llama", "gemma2")
]


@pytest.mark.parametrize(("family", "kind"), dict.fromkeys(FAMILY_KINDS))
@pytest.mark.parametrize("gate", [0.0, 0.4, 1.0])
def test_the_gradient_is_that_of_explicit_gates(family, kind, gate, monkeypatch):
    monkeypatch.setitem(gates_module.VALUES, "cpu", 7 * LENGTH)  # a head at once,
    monkeypatch.setitem(gates_module.ROWS, "cpu", 7)  # and several blocks of queries
    model, ids = build(family), tokens(LENGTH)
    error = 1e-3 if family in SINGLE else 1e-5  # rotations are in float32 in any case
    targets = choose(model, kind)
    layers = {layer: GatedLayer(target, kind, LENGTH, EDGES) for layer, target in targets.items()}
    gated = GatedModel(model, targets, layers, LENGTH, 9)
    stretches = [range(9, 20), range(20, LENGTH)]
    with gated.ready():
        found = gated.run(ids[0], gate, stretches)
    for number, stretch in enumerate(stretches):
        loss, slow = differentiate(model, ids, targets, kind, gate, list(stretch))
        assert found.loss[number] == pytest.approx(loss, rel=error)
        largest = max(grad.abs().max().item() for grad in slow.values())
        assert largest > 0
        for layer, grad in slow.items():
            mine = found.gradients[number][layer]
            np.testing.assert_allclose(mine.by_lag, grad.sum(-1), atol=error * largest)
            np.testing.assert_allclose(mine.first_keys, grad[..., 1].sum(-1), atol=error * largest)


def test_some_heads_alone_have_gates():
    model, ids = build("llama"), tokens(LENGTH)
    targets = choose(model, "clip", heads=(1, 4))
    layers = {layer: GatedLayer(target, "clip", LENGTH, EDGES) for layer, target in targets.items()}
    gated = GatedModel(model, targets, layers, LENGTH, 9)
    with gated.ready():
        found = gated.run(ids[0], 0.3, [range(9, LENGTH)])
    loss, slow = differentiate(model, ids, targets, "clip", 0.3, list(range(9, LENGTH)))
    assert found.loss[0] == pytest.approx(loss, rel=1e-6)
    for layer, grad in slow.items():
        np.testing.assert_allclose(found.gradients[0][layer].by_lag, grad.sum(-1), atol=1e-9, rtol=1e-5)


def test_layers_that_run_again_on_the_way_back_give_the_same(monkeypatch):
    model, ids = build("llama"), tokens(LENGTH)
    targets = choose(model, "clip")
    layers = {layer: GatedLayer(target, "clip", LENGTH, EDGES) for layer, target in targets.items()}
    found = []
    for share in (1, 2**60):
        monkeypatch.setattr("ropediag.attribution.passes.SHARE", share)
        gated = GatedModel(model, targets, layers, LENGTH, 9)
        with gated.ready():
            found.append(gated.run(ids[0], 0.5, [range(9, 20), range(20, LENGTH)]))
    for one, other in zip(*(each.gradients for each in found), strict=True):
        for layer in one:
            assert torch.equal(one[layer].by_lag, other[layer].by_lag)


def test_the_model_is_left_as_it_was():
    model = tiny_model("llama")
    before = model(tokens(LENGTH)).logits
    targets = choose(model, "clip")
    layers = {layer: GatedLayer(target, "clip", LENGTH, EDGES) for layer, target in targets.items()}
    gated = GatedModel(model, targets, layers, LENGTH, 9)
    with gated.ready():
        gated.run(tokens(LENGTH)[0], 0.5, [range(9, LENGTH)])
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert torch.equal(model(tokens(LENGTH)).logits, before)


def test_attention_that_does_more_is_refused(monkeypatch):
    model = tiny_model("llama")
    targets = choose(model, "clip")
    layers = {layer: GatedLayer(target, "clip", LENGTH, EDGES) for layer, target in targets.items()}
    original = gates_module._Pass.weights
    monkeypatch.setattr(
        gates_module._Pass,
        "weights",
        lambda self, *block: tuple(part if part is None else part * 0.9 for part in original(self, *block)),
    )
    with pytest.raises(ModelError, match="llama, layer 0"):
        GatedModel(model, targets, layers, LENGTH, 9)


def compare_split(model, ids, gate):
    """Passes over the later tokens alone against passes over the whole text, each with its gates."""
    targets = choose(model, "clip")
    layers = {layer: GatedLayer(target, "clip", LENGTH, EDGES) for layer, target in targets.items()}
    found, firsts = [], []
    for whole in (False, True):
        gated = GatedModel(model, targets, layers, LENGTH, 20)
        gated.first = 0 if whole else gated.first
        with gated.ready():
            found.append(gated.run(ids[0], gate, [range(20, LENGTH)], whole=True))
        firsts.append(gated.first)
    split, other = found
    np.testing.assert_allclose(split.nll, other.nll, rtol=1e-4)
    for layer, own in other.gradients[0].items():
        largest = float(own.by_lag.abs().max())
        np.testing.assert_allclose(split.gradients[0][layer].by_lag, own.by_lag, atol=1e-3 * largest)
    return firsts[0]


@pytest.mark.parametrize("family", [*FAMILIES, "deepseek_v3", "gptj", "falcon", "llama4_text"])
def test_a_prefix_that_is_read_once_changes_nothing(family):
    first = compare_split(build(family), tokens(LENGTH), 0.4)
    assert first == 10  # the smallest limit is 9.9


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("qwen3_next", {}),  # linear attention carries the prefix on in a state
        ("zaya", {}),  # its attention has a convolution
        ("deepseek_v32", {"index_topk": 16}),  # each layer chooses keys by the text
        ("llama4_text", {"attn_temperature_tuning": True, "floor_scale": 4}),  # by positions of its own
    ],
)
def test_a_model_that_does_more_than_attend_is_read_whole(family, options):
    model = tiny_of_type(family, **options).requires_grad_(False).eval()
    assert compare_split(model, tokens(LENGTH), 0.4) == 0


def test_the_prefix_is_read_without_gates(monkeypatch):
    seen = []
    original = passes_module.attend_gated

    def record(call, *rest):
        seen.append(call.query.shape[2])
        return original(call, *rest)

    model, ids = build("llama"), tokens(LENGTH)
    targets = choose(model, "clip")
    layers = {layer: GatedLayer(target, "clip", LENGTH, EDGES) for layer, target in targets.items()}
    gated = GatedModel(model, targets, layers, LENGTH, 20)
    monkeypatch.setattr(passes_module, "attend_gated", record)
    with gated.ready():
        for gate in (0.5, 1.0):
            gated.run(ids[0], gate, [range(20, LENGTH)])
    assert set(seen) == {LENGTH - 10}


@pytest.mark.parametrize(("family", "first"), [("gemma2", 901), ("gpt_oss", 901), ("deepseek_v32", 0)])
def test_masks_that_are_made_on_demand_are_those_of_the_whole_text(family, first):
    """Above 2,048 tokens masks come in rows, unless the model does something else with them."""
    length = 2100
    model = build(family).float() if first else tiny_of_type(family, index_topk=64)
    model, ids = model.requires_grad_(False).eval(), tokens(length)
    rotation = measure_rotation(model, np.array([length - 1]))
    places = {
        (layer, head): {rotation.spec.pair_count(row) - 1: 900.0}
        for row, layer in enumerate(rotation.layers.tolist())
        for head in range(rotation.query_heads[row])
    }
    targets, edges = find_targets(Intervention("clip", limits=places), rotation), lag_edges(length)
    layers = {layer: GatedLayer(target, "clip", length, edges) for layer, target in targets.items()}
    gated = GatedModel(model, targets, layers, length, 1000)
    with gated.ready():
        found = gated.run(ids[0], 1.0, [range(1000, length)], whole=True)
    assert gated.first == first
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0]
    plain = torch.nn.functional.cross_entropy(logits[:-1].float(), ids[0, 1:], reduction="none")
    # Which of its 64 keys a query chooses hangs on last digits where two are alike, from the 65th token on.
    sure = slice(1, None if first else 64)
    np.testing.assert_allclose(found.nll[sure], plain[: len(found.nll[sure])], atol=1e-3)
    assert np.isfinite(found.nll[1:]).all()
