"""A whole ablation: what it measures, what it writes, and that the bundled model breaks by its slow pairs."""

import json

import numpy as np
import pytest
import torch

from ropediag import open_capture
from ropediag.errors import CaptureError, ConfigError
from ropediag.evaluate import evaluate_model
from ropediag.intervene import AblateConfig, Intervention, ablate_checkpoint, ablate_model, intervene
from ropediag.intervene.repair import measure_repair
from ropediag.models.loss import decode, nll_by_position
from ropediag.store import summarize
from ropediag.tune.tokenizer import byte_tokenizer
from tests.families import tiny_model

LENGTH, TRAIN_LEN = 200, 64


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama", vocab_size=256)


@pytest.fixture(scope="module")
def ids():
    return np.random.default_rng(0).integers(32, 127, (3, LENGTH))


def ablate(model, ids, **options):
    return ablate_model(model, ids, **{"train_len": TRAIN_LEN, "random": 2, "pairs": (1, 2), **options})


def loss(model, ids, change):
    rows = torch.from_numpy(ids)
    with intervene(model, change):
        return nll_by_position(model, rows, decode(model, rows))


def test_losses_are_those_of_the_model_and_of_the_intervention(model, ids):
    found = ablate(model, ids, heads=(0, 3))
    plain = evaluate_model(model, ids, train_len=TRAIN_LEN, trials=0)
    np.testing.assert_array_equal(found.nll, plain.nll)
    np.testing.assert_array_equal(found.nll_windowed, plain.nll_windowed)
    assert found.nll_changed.shape == (3, 3, LENGTH)
    for run, pairs in enumerate(((1, 2), (0, 3), (0, 3))):
        change = Intervention("clip", pairs=pairs, heads=(0, 3), limit=TRAIN_LEN - 1)
        expected = loss(model, ids, change)
        np.testing.assert_allclose(found.nll_changed[run], expected, atol=1e-4)
        assert dict(found.sets[run]) == {(layer, head): pairs for layer in range(2) for head in (0, 3)}
    assert np.nanmax(np.abs(found.nll_changed[0] - found.nll)) > 1e-3
    chosen, *random = found.nll_changed
    assert found.repairs == tuple(
        measure_repair(found.nll, found.nll_windowed, chosen, random, TRAIN_LEN, multiple)
        for multiple in (2.0, LENGTH / TRAIN_LEN)
    )
    assert found.repairs[-1].stop == LENGTH


@pytest.mark.parametrize(("kind", "options"), [
    ("freeze", {}), ("zero", {}), ("interpolate", {"factor": 4.0}), ("rebase", {"base": 5e5}),
    ("clip", {"limit": 9}), ("log", {"pairs": "all"}),
])  # fmt: skip
def test_every_kind_is_measured(model, ids, kind, options):
    found = ablate(model, ids, **{"kind": kind, "random": None, **options})
    assert found.change.kind == kind
    assert len(found.sets) == (1 if kind == "log" else 9)
    expected = loss(model, ids, found.change)
    np.testing.assert_allclose(found.nll_changed[0], expected, atol=1e-4)


def test_the_file_holds_what_was_measured(model, ids, tmp_path):
    path = tmp_path / "new" / "out.h5"
    found = ablate(model, ids, layers=(1,), heads=(2, 5), out=path, name="toy")
    with open_capture(path) as file:
        assert (file.attrs["kind"], file.status, file.attrs["model"]) == ("ablation", "complete", "toy")
        np.testing.assert_array_equal(file["loss/nll"], found.nll)
        np.testing.assert_array_equal(file["loss/nll_windowed"], found.nll_windowed)
        np.testing.assert_array_equal(file["ablation/nll"], found.nll_changed)
        chosen = file["ablation/chosen"]
        assert chosen.dims == ("run", "layer", "query_head", "pair")
        assert (chosen.layer.values.tolist(), chosen.query_head.values.tolist()) == ([1], [2, 5])
        assert chosen[0, 0].values.tolist() == [[0, 1, 1, 0]] * 2
        assert chosen[1, 0].values.tolist() == [[1, 0, 0, 1]] * 2
        assert json.loads(file.attrs["figures"]) == json.loads(json.dumps(found.figures()))
    assert summarize(path).sizes["run"] == 3


def test_figures_are_plain_and_complete(model, ids):
    found = ablate(model, ids, trials=2, tokenizer=byte_tokenizer())
    figures = json.loads(json.dumps(found.figures(), allow_nan=False))
    assert (figures["kind"], figures["limit"], figures["chosen"]) == ("clip", 63, [1, 2])
    assert figures["pairs"] == [{"layers": [0, 1], "heads": [0, 1, 2, 3, 4, 5], "pairs": [1, 2]}]
    assert [group[0]["pairs"] for group in figures["random_pairs"]] == [[0, 3], [0, 3]]
    assert [repair["multiple"] for repair in figures["repairs"]] == [2.0, 3.125]
    assert figures["search"] is None
    assert figures["recall"][0]["task"] == "key-value"
    assert set(figures["recall"][0]) == {"task", "untouched", "changed"}
    assert figures["critical_pair"] == {"0": 2, "1": 2}


def test_the_model_is_left_in_its_mode(ids):
    model = tiny_model("llama", vocab_size=256).train()
    ablate(model, ids)
    assert model.training


def test_what_cannot_be_ablated_is_refused(model, ids, tmp_path):
    with pytest.raises(ConfigError, match="no damage to repair within the training length, 200"):
        ablate(model, ids, train_len=LENGTH)
    with pytest.raises(ConfigError, match="nothing to search for"):
        ablate(model, np.concatenate([ids, ids[:, ::-1]]), search=0.5)  # a random model breaks nowhere
    (tmp_path / "out.h5").write_text("mine")
    with pytest.raises(CaptureError, match=r"out\.h5 exists"):
        ablate(model, ids, out=tmp_path / "out.h5")


BAD = {
    "unknown word": ({"pairs": "slow"}, "pairs must be past"),
    "no pairs": ({"pairs": ()}, "must name at least one"),
    "unknown kind": ({"kind": "melt"}, "kind must be one of"),
    "factor for clip": ({"factor": 2.0}, "clip takes no factor"),
    "no factor": ({"kind": "interpolate"}, "interpolate needs factor"),
    "flagged without a capture": ({"pairs": "flagged"}, "flagged pairs are those of a capture"),
    "random beside all": ({"pairs": "all", "random": 2}, "no random set beside all pairs"),
    "share above one": ({"search": 1.5}, "a share above 0"),
    "pairs for log": ({"kind": "log", "pairs": "past"}, "log scales whole logits"),
    "negative limit": ({"limit": -1}, "limit must be at least 0"),
    "negative sets": ({"random": -1}, "random must be at least 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_refused_before_a_model_loads(case):
    options, said = BAD[case]
    with pytest.raises(ConfigError, match=said):
        AblateConfig(**{"model": "demo", "length": 512, **options})


def test_a_recipe_names_what_decides_the_numbers():
    one, two = (AblateConfig("demo", 512, force=force) for force in (True, False))
    assert one.recipe() == two.recipe()
    assert one.recipe() != AblateConfig("demo", 512, limit=60).recipe()


@pytest.mark.parametrize(("kind", "pairs", "draws"), [("clip", "past", 8), ("log", "all", 0)])
def test_pairs_that_are_not_given_are_those_past_the_critical_one_or_all_for_log(kind, pairs, draws):
    config = AblateConfig("demo", 512, kind=kind)
    assert (config.chosen, config.draws) == (pairs, draws)
    assert config.recipe() == AblateConfig("demo", 512, kind=kind, pairs=pairs).recipe()


def test_the_pairs_past_the_critical_one_break_the_bundled_model():
    """At 4 times its training length; the whole proof is benchmarks/causal_proof.py."""
    shared = {"model": "demo", "length": 512, "sequences": 6, "random": 0}
    past = ablate_checkpoint(AblateConfig(pairs="past", search=0.5, **shared))
    before = ablate_checkpoint(AblateConfig(pairs="before", **shared))
    assert past.repairs[-1].multiple == 4
    assert past.repairs[-1].repaired.low > 0.5
    assert before.repairs[-1].repaired.high < 0.25
    assert past.sets[0][0, 0] == tuple(range(11, 32))
    assert set(past.search.pairs) <= set(range(11, 18))
    assert past.search.confirmed.value > 0.4
