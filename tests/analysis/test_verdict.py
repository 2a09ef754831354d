"""The verdict says what the diagnostics say, and names what the evidence does not carry."""

import json
import re
import shutil
from dataclasses import fields, replace

import h5py
import numpy as np
import pytest

from ropediag import capture_model, open_capture
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.onset_pair import measure_onset_pair
from ropediag.analysis.verdict import judge_capture
from ropediag.analysis.wording import find_weaknesses, group_sentences, word_headline, word_verdict
from ropediag.errors import ConfigError
from ropediag.store.seal import seal_file
from ropediag.testing.broken import make_broken_model, random_tokens
from ropediag.testing.planted import plant_drift
from tests.analysis.captures import EXAMPLE
from tests.store.synthetic import write_capture


def say(verdict):
    """The texts of all sentences, joined."""
    return " ".join(sentence["text"] for sentence in word_verdict(verdict))


@pytest.fixture(scope="module")
def verdict():
    with open_capture(EXAMPLE) as capture:
        return judge_capture(capture)


def test_the_keys_are_the_documented_ones(verdict):
    figures = json.loads(json.dumps(verdict.figures(), allow_nan=False))
    assert list(figures) == [field.name for field in fields(verdict)]
    documented = type(verdict).__doc__
    assert all(re.search(rf"\b{name}\b", documented) for name in figures)
    assert [layer["critical_pair"] for layer in figures["layers"]] == [11] * 4
    assert set(figures["heads"][0]) == {
        "layer", "query_head", "critical_pair", "onset_pair", "onset_pair_low", "onset_pair_high",
        "drifting_pairs",
    }  # fmt: skip


def test_its_numbers_are_those_of_the_diagnostics(verdict):
    with open_capture(EXAMPLE) as capture:
        drift, onsets = measure_drift(capture).load(), measure_onset_pair(capture)
    assert verdict.drifting_pairs == int(drift.drifts.sum())
    assert verdict.tested_pairs == 4 * 2 * 21  # those without a full turn
    assert verdict.onset_pair == int(onsets.model_onset_pair)
    assert [head["onset_pair"] for head in verdict.heads] == onsets.onset_pair.values.ravel().tolist()
    assert verdict.offenders[0]["drift"] == pytest.approx(float(drift.drift.max()))
    assert len(verdict.offenders) == 10


@pytest.mark.parametrize("changes", [
    {},
    {"onset_pair": 20, "onset_pair_low": 19, "onset_pair_high": 21, "measured_limit": 400},
    {"loss_breaks": False, "measured_limit": None},
    {"drifts": False},
    {"drifts": None, "tested_pairs": 0},
    {"loss_breaks": None, "threshold": None},
    {"length": 100},
    {"onset_pair": None},
])  # fmt: skip
def test_every_sentence_carries_a_number(verdict, changes):
    sentences = word_verdict(replace(verdict, **changes))
    assert sentences
    assert all(re.search(r"\d", sentence["text"]) for sentence in sentences)
    assert {sentence["kind"] for sentence in sentences} <= {"geometry", "description", "cause"}


@pytest.mark.parametrize(("changes", "headline"), [
    ({}, "It breaks"),
    ({"loss_breaks": False}, "Pairs drift"),
    ({"loss_breaks": False, "drifts": False}, "It holds"),
    ({"loss_breaks": None, "drifts": False}, "No pair drifts"),
    ({"loss_breaks": None, "drifts": None}, "Nothing to judge"),
    ({"length": 128}, "Nothing to judge"),
])  # fmt: skip
def test_the_headline_is_what_the_loss_and_the_pairs_say(verdict, changes, headline):
    assert word_headline(replace(verdict, **changes)) == headline


def test_good_evidence_has_no_weakness(verdict):
    assert verdict.weak == []


def test_a_model_that_does_not_break_is_told_so(tmp_path):
    """Random tokens are as hard to predict from any context; the fast pair has shown all of its range."""
    model = make_broken_model(0, 0, 2)
    options = {"train_len": 64, "pretrain_base": 10_000.0, "name": "still", "rows": 4}
    path = capture_model(model, random_tokens(8, 1024, 5), tmp_path / "still.h5", **options)
    with open_capture(path) as capture:
        verdict = judge_capture(capture)
    assert verdict.loss_breaks is False
    assert verdict.drifts is False
    assert verdict.offenders == []
    kinds = [sentence["kind"] for sentence in verdict.sentences]
    assert kinds == ["geometry", "geometry", "description", "description", "description"]
    assert "does not break in loss" in verdict.sentences[2]["text"]
    assert f"none of {verdict.tested_pairs} pairs leaves the range" in verdict.sentences[3]["text"]


def test_theory_and_measurement_are_held_against_each_other(verdict):
    assert "disagree" not in say(verdict)
    late = replace(verdict, onset_pair=20, onset_pair_low=19, onset_pair_high=21, measured_limit=400)
    said = say(late)
    assert "disagree on the pair: 11 against 20" in said
    assert "disagree on the limit: 128 against 400" in said
    near = replace(verdict, onset_pair=10, onset_pair_low=9, onset_pair_high=12)
    assert "disagree" not in say(near)
    quiet = replace(verdict, loss_breaks=False, measured_limit=None)
    assert "drift alone does not break it here" in say(quiet)
    other = replace(verdict, drifts=False)
    assert "none of 168 pairs drifts" in say(other)


def test_weak_evidence_is_named(verdict):
    single = replace(
        verdict,
        sequences=1,
        measured_limit_low=None,
        measured_limit_high=None,
        length=200,
        onset_pair_high=None,
    )
    said = " ".join(find_weaknesses(single))
    for words in ("1 sequence:", "--sequences 8", "no interval: there is one", "up to 175", "on one side"):
        assert words in said
    assert "no windowed loss" in " ".join(find_weaknesses(replace(verdict, threshold=None)))
    assert "3 (sequence, layer) units" in " ".join(find_weaknesses(replace(verdict, missing_units=3)))
    assert "no pair could be tested" in " ".join(find_weaknesses(replace(verdict, tested_pairs=0)))


def test_without_drift_the_loss_still_has_its_sentence(tmp_path):
    with open_capture(EXAMPLE) as source:
        path = plant_drift(source, tmp_path / "none.h5")
    with open_capture(path) as capture:
        verdict = judge_capture(capture)
    assert verdict.drifts is False
    assert verdict.loss_breaks is True
    assert verdict.onset_pair is None
    assert np.isfinite(verdict.measured_limit)


def test_a_file_that_does_not_state_its_training_is_not_judged(tmp_path):
    path = write_capture(tmp_path / "toy.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["tune_len"] = 16
        for name in ("model", "base", "pretrain_base", "train_len"):
            del file.attrs[name]
    seal_file(path)
    with open_capture(path) as capture, pytest.raises(ConfigError, match=r"set-training .*toy\.h5 --phase"):
        judge_capture(capture)


def test_the_kinds_of_sentences_are_kept_apart(tmp_path):
    """Drift is a description, and no sentence offers it as a proof; what pairs cost other commands tell."""
    shutil.copy(EXAMPLE, tmp_path / "alone.h5")  # without the attribution that lies next to it
    with open_capture(tmp_path / "alone.h5") as capture:
        verdict = judge_capture(capture)
    by_kind = {kind: " ".join(texts) for kind, texts in group_sentences(verdict).items()}
    assert list(by_kind) == ["geometry", "description", "cause"]
    assert "84 rotary pairs" in by_kind["geometry"]  # 21 in each of 4 layers
    assert "the first from lag 128 on" in by_kind["geometry"]
    assert "leave the range" in by_kind["description"]
    assert "a capture cannot tell. ropediag attribute splits" in by_kind["cause"]
    short = replace(verdict, unseen_pairs=0)
    assert "no untrained angle occurs at 8,192 tokens" in say(short)
