"""A whole ablation: what it measures, what it writes, and that the bundled model breaks by its slow pairs."""

import json

import numpy as np
import pytest
import torch

from ropediag import open_capture
from ropediag.capture.plan import build_training
from ropediag.checkpoint import TrainingFlags
from ropediag.errors import CaptureError, ConfigError
from ropediag.evaluate import evaluate_model
from ropediag.intervene import AblateConfig, Intervention, ablate_checkpoint, ablate_model, intervene
from ropediag.intervene.intervention import LIMITED
from ropediag.intervene.repair import measure_repair
from ropediag.intervene.run import make_sets
from ropediag.intervene.selection import choose_pairs
from ropediag.intervene.subject import Subject
from ropediag.models.inputs import read_training
from ropediag.models.load import LoadedModel
from ropediag.models.logits import read_logit_rules
from ropediag.models.loss import decode, nll_by_position
from ropediag.models.rotation import measure_rotation
from ropediag.rope import inv_freq
from ropediag.store import summarize
from ropediag.tune.tokenizer import byte_tokenizer
from tests.families import tiny_model, tokens

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
    found = ablate(model, ids, heads=(0, 3), limit=TRAIN_LEN - 1)
    plain = evaluate_model(model, ids, train_len=TRAIN_LEN, trials=0)
    np.testing.assert_array_equal(found.nll, plain.nll)
    np.testing.assert_array_equal(found.nll_windowed, plain.nll_windowed)
    assert found.nll_changed.shape == (3, 3, LENGTH)
    for run, pairs in enumerate(((1, 2), (0, 3), (0, 3))):
        change = Intervention("clip", pairs=pairs, heads=(0, 3), limit=TRAIN_LEN - 1)
        expected = loss(model, ids, change)
        np.testing.assert_allclose(found.nll_changed[run], expected, atol=1e-4)
        assert found.sets[run].pairs == {(layer, head): pairs for layer in range(2) for head in (0, 3)}
    assert np.nanmax(np.abs(found.nll_changed[0] - found.nll)) > 1e-3
    chosen, *random = found.nll_changed
    assert found.repairs == tuple(
        measure_repair(found.nll, found.nll_windowed, chosen, random, TRAIN_LEN, multiple)
        for multiple in (2.0, LENGTH / TRAIN_LEN)
    )
    assert found.repairs[-1].stop == LENGTH


@pytest.mark.parametrize(("kind", "options"), [
    ("freeze", {}), ("zero", {}), ("interpolate", {"factor": 4.0}), ("rebase", {"base": 5e5}),
    ("clip", {"limit": 9}), ("fold", {"limit": 9}), ("log", {"pairs": "all"}),
])  # fmt: skip
def test_every_kind_is_measured(model, ids, kind, options):
    found = ablate(model, ids, **{"kind": kind, "random": None, **options})
    assert found.change.kind == kind
    assert len(found.sets) == (1 if kind == "log" else 9)
    expected = loss(model, ids, found.change)
    np.testing.assert_allclose(found.nll_changed[0], expected, atol=1e-4)


AT = (0.7, 1.2, 0.85)


def limits_of(pairs, limits):
    """The limits of pairs that are the same in all layers and heads."""
    return {(layer, head): dict(zip(pairs, limits, strict=True)) for layer in range(2) for head in range(6)}


@pytest.mark.parametrize("kind", LIMITED)
def test_a_curve_is_measured_at_every_multiple_of_the_reach(model, ids, kind):
    found = ablate(model, ids, kind=kind, at=AT, pairs="all", random=None)
    assert found.at == ((0.85, 0.7, 1.2) if kind == "clip" else (0.7, 0.85, 1.2))
    assert found.untouched == dict.fromkeys(limits_of((), ()), (0, 1))
    assert found.nll_changed.shape == (3, 3, LENGTH)
    for run, at in enumerate(found.at):
        limits = limits_of((2, 3), (at * TRAIN_LEN, at * TRAIN_LEN))
        assert found.lag_limits(run) == limits
        expected = loss(model, ids, Intervention(kind, limits=limits))
        np.testing.assert_allclose(found.nll_changed[run], expected, atol=1e-4)
        repair = measure_repair(
            found.nll, found.nll_windowed, expected, [], TRAIN_LEN, LENGTH / TRAIN_LEN, at
        )
        assert found.curve[run].nll_changed == pytest.approx(repair.nll_changed, abs=1e-4)
    assert [(repair.at, repair.multiple) for repair in found.repairs] == [
        (at, multiple) for at in found.at for multiple in (2.0, LENGTH / TRAIN_LEN)
    ]


def test_the_reaches_are_those_of_the_training(ids):
    """Tuned to a larger base each slow pair has its own; pairs that made a turn have none."""
    model = tiny_model("llama", vocab_size=256, rope_parameters={"rope_type": "default", "rope_theta": 1e6})
    found = ablate(model, ids, pretrain_base=1e4, train_len=20, pairs="past", at=(0.5,), random=1)
    pretrained, tuned = inv_freq(8, 1e4), inv_freq(8, 1e6)
    assert found.sets[0].pairs[0, 0] == (1, 2, 3)
    for pair, reach in found.sets[0].reach[1, 5].items():
        assert reach == pytest.approx(20 * pretrained[pair] / tuned[pair], rel=1e-5)
    assert found.figures()["smallest_reach"] == pytest.approx(20 * 10**0.5, rel=1e-5)
    assert found.lag_limits(0)[0, 0][2] == pytest.approx(100, rel=1e-5)
    longer = ablate(model, ids, pretrain_base=1e4, train_len=20, pairs="all", random=None)
    assert set(longer.untouched.values()) == {(0,)}


@pytest.mark.parametrize("kind", LIMITED)
@pytest.mark.parametrize("pairs", ["past", "before", (0, 3), (1,)])
@pytest.mark.parametrize("family", ["llama", "gpt_oss", "gemma2"])
def test_every_control_changes_the_logits(family, pairs, kind):
    """Sets of pairs that made a full turn, and random ones, would else be equal to the untouched model."""
    model = tiny_model(family, vocab_size=256)
    config = AblateConfig("toy", 200, kind=kind, pairs=pairs, random=4, train_len=16)
    loaded = LoadedModel(model, None, "toy", None)
    training = read_training(loaded, TrainingFlags(train_len=16))
    rotation = measure_rotation(model, np.array([199]))
    shown = build_training(model, rotation, training, read_logit_rules(model))
    subject = Subject(loaded, torch.zeros(1, 200, dtype=torch.long), rotation, training, shown, config)
    sets = make_sets(subject, choose_pairs(config.chosen, rotation, shown.critical_pair()))
    assert len(sets) == 5
    ids = tokens(200)
    with torch.no_grad():
        plain = model(ids, use_cache=False).logits
        for number, chosen in enumerate(sets):
            with intervene(model, subject.intervention(chosen), rotation=rotation):
                changed = model(ids, use_cache=False).logits
            assert (changed - plain).abs().max() > 1e-4, number


def test_limits_beyond_the_text_and_a_model_without_reaches_are_refused(model, ids):
    with pytest.raises(ConfigError, match="no lag in 200 tokens exceeds the smallest limit"):
        ablate(model, ids, at=(4.0, 5.0), pairs="past")
    small = tiny_model("llama", vocab_size=256, rope_parameters={"rope_type": "default", "rope_theta": 2.0})
    with pytest.raises(ConfigError, match="none has a trained reach"):
        ablate(small, ids)


def test_the_file_holds_what_was_measured(model, ids, tmp_path):
    path = tmp_path / "new" / "out.h5"
    found = ablate(model, ids, layers=(1,), heads=(2, 5), pairs=(2, 3), at=(1.5, 0.5), out=path, name="toy")
    with open_capture(path) as file:
        assert (file.attrs["kind"], file.status, file.attrs["model"]) == ("ablation", "complete", "toy")
        np.testing.assert_array_equal(file["loss/nll"], found.nll)
        np.testing.assert_array_equal(file["loss/nll_windowed"], found.nll_windowed)
        np.testing.assert_array_equal(file["ablation/nll"], found.nll_changed)
        chosen = file["ablation/chosen"]
        assert chosen.dims == ("run", "layer", "query_head", "pair")
        assert (chosen.layer.values.tolist(), chosen.query_head.values.tolist()) == ([1], [2, 5])
        assert chosen[0, 0].values.tolist() == [[0, 0, 1, 1]] * 2
        assert chosen[1, 0].values.tolist() == [[1, 1, 0, 0]] * 2
        assert file["ablation/at"].values.tolist() == [0.5, 0.5, 0.5, 1.5, 1.5, 1.5]
        limits = file["ablation/lag_limit"]
        assert limits.attrs["units"] == "tokens"
        for run, at in enumerate((0.5, 1.5)):
            np.testing.assert_array_equal(limits[3 * run, 0], [[np.nan, np.nan, at * 64, at * 64]] * 2)
            np.testing.assert_array_equal(limits[3 * run + 1, 0], [[at * 64, at * 64, np.nan, np.nan]] * 2)
        assert json.loads(file.attrs["figures"]) == json.loads(json.dumps(found.figures()))
    assert summarize(path).sizes["run"] == 6


@pytest.mark.parametrize(("options", "expected"), [({"limit": 9}, 9), ({"kind": "zero"}, None)])
def test_a_common_limit_is_in_the_file_and_other_kinds_have_none(model, ids, tmp_path, options, expected):
    ablate(model, ids, out=tmp_path / "a.h5", **options)
    with open_capture(tmp_path / "a.h5") as file:
        assert "ablation/at" not in file
        assert ("ablation/lag_limit" in file) == (expected is not None)
        if expected:
            worked = file["ablation/chosen"].values == 1
            np.testing.assert_array_equal(file["ablation/lag_limit"], np.where(worked, expected, np.nan))


def test_figures_are_plain_and_complete(model, ids):
    found = ablate(model, ids, trials=2, tokenizer=byte_tokenizer())
    figures = json.loads(json.dumps(found.figures(), allow_nan=False))
    assert (figures["kind"], figures["limit"], figures["chosen"]) == ("clip", None, [1, 2])
    assert (figures["at"], figures["smallest_reach"], figures["largest_reach"]) == ([0.85], 64, 64)
    assert figures["pairs"] == [{"layers": [0, 1], "heads": [0, 1, 2, 3, 4, 5], "pairs": [2]}]
    assert figures["untouched_pairs"] == [{"layers": [0, 1], "heads": [0, 1, 2, 3, 4, 5], "pairs": [1]}]
    assert {repair["at"] for repair in figures["repairs"]} == {0.85}
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
    "negative limit": ({"limit": -1}, "must be at least 0"),
    "multiples and a limit": ({"at": (1.0,), "limit": 5}, "give one of them"),
    "multiples for another kind": ({"kind": "zero", "at": (1.0,)}, "at is for clip and fold"),
    "a multiple of nothing": ({"at": (0.0,)}, "above 0, finite: got 0.0"),
    "a multiple that is no number": ({"at": (1.0, float("nan"))}, "finite: got nan"),
    "an endless multiple": ({"at": (float("inf"),)}, "finite: got inf"),
    "too many multiples": (
        {"at": tuple(map(float, range(1, 22)))},
        "up to 20 multiples of the reach: got 21",
    ),
    "a search over a curve": ({"at": (0.7, 1.0), "search": 0.5}, "one multiple of the reach"),
    "recall over a curve": ({"at": (0.7, 1.0), "trials": 2}, "one multiple of the reach"),
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


def test_the_usual_multiples_are_those_of_the_kind_and_a_curve_begins_with_them():
    assert [AblateConfig("demo", 512, kind=kind).multiples for kind in LIMITED] == [(0.85,), (1.0,)]
    assert AblateConfig("demo", 512).recipe() == AblateConfig("demo", 512, at=(0.85,)).recipe()
    assert AblateConfig("demo", 512, limit=96).multiples == ()
    curve = AblateConfig("demo", 512, kind="fold", at=(1.4, 0.7, 1.0, 0.7))
    assert (curve.multiples, curve.draws) == ((1.0, 0.7, 1.4), 2)


def test_the_pairs_past_the_critical_one_break_the_bundled_model():
    """At 4 times its training length; the whole proof is benchmarks/causal_proof.py."""
    shared = {"model": "demo", "length": 512, "sequences": 6, "random": 0}
    past = ablate_checkpoint(AblateConfig(pairs="past", search=0.5, **shared))
    before = ablate_checkpoint(AblateConfig(pairs="before", **shared))
    assert past.repairs[-1].multiple == 4
    assert past.repairs[-1].repaired.low > 0.9
    assert before.repairs[-1].repaired.high < 0.25
    assert past.sets[0].pairs[0, 0] == tuple(range(11, 32))
    assert set(past.search.pairs) <= set(range(11, 18))
    assert past.search.confirmed.value > 0.4
