"""What an untuned capture says of other bases: the period of its onset, stretched, step by step."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from ropediag import open_capture
from ropediag.analysis import stretch as module
from ropediag.analysis.drift import LEAST, measure_drift
from ropediag.analysis.stretch import measure_stretch
from ropediag.analysis.verdict import judge_capture
from ropediag.cli import build_app
from ropediag.errors import ConfigError
from tests.analysis.captures import EXAMPLE

TUNED = EXAMPLE.with_name("example-tuned-b160000-8192.h5")
BASES = (20_000.0, 160_000.0, 1.6e7)


@pytest.fixture(scope="module")
def stretch():
    with open_capture(EXAMPLE) as capture:
        return measure_stretch(capture)


def test_the_onset_is_where_the_mean_drift_passes_its_least(stretch):
    with open_capture(EXAMPLE) as capture:
        heads = measure_drift(capture).drift.values.reshape(-1, 32)
        verdict = judge_capture(capture)
    assert stretch.limit == verdict.measured_limit
    means = [sum(head[pair] for head in heads) / len(heads) for pair in range(32)]
    places = np.linspace(0, 31, 310_001)
    passed = np.interp(places, range(32), means) >= LEAST
    assert stretch.onset == pytest.approx(places[passed.argmax()], abs=2e-4)


@pytest.mark.parametrize("base", BASES)
def test_the_limit_grows_as_the_period_of_the_onset(stretch, base):
    now, before = (2 * np.pi * each ** (2 * stretch.onset / 64) for each in (base, 10_000.0))
    assert stretch.limit_at(base) == pytest.approx(stretch.limit * now / before)


@pytest.mark.parametrize("base", BASES)
def test_the_base_for_a_length_is_the_one_whose_limit_it_is(stretch, base):
    assert stretch.base_for(stretch.limit_at(base)) == pytest.approx(base)


def test_what_cannot_be_asked_is_named(stretch):
    with pytest.raises(ConfigError, match="above that of demo, 10,000: got 500"):
        stretch.limit_at(500.0)
    with pytest.raises(ConfigError, match=r"above the limit of demo, 146 tokens: got 100\."):
        stretch.base_for(100.0)


def test_a_pair_that_hardly_stretches_reaches_nothing(stretch):
    with pytest.raises(ConfigError, match=r"no base in reach stretches pair 0\.01"):
        replace(stretch, onset=0.01).base_for(1e6)


def test_a_slow_rise_is_no_cliff_and_the_command_says_so(stretch, monkeypatch):
    assert stretch.has_cliff
    slow = replace(stretch, limit=500.0)
    assert not slow.has_cliff
    monkeypatch.setattr(module, "measure_stretch", lambda capture: slow)
    told = CliRunner().invoke(build_app(), ["stretch", str(EXAMPLE), "--base", "160000"])
    assert "rises slowly, to its threshold at 3.9 times the training length" in told.output


def test_a_base_far_outside_what_was_measured_is_warned_of(stretch, monkeypatch):
    monkeypatch.setattr(module, "measure_stretch", lambda capture: stretch)
    far = " ".join(
        CliRunner().invoke(build_app(), ["stretch", str(EXAMPLE), "--target-len", "1e8"]).output.split()
    )
    assert "these laws were measured up to 938 times" in far
    assert re.search(r"\d\.\de\+\d\d 100,000,000", far)  # no row of twenty digits
    near = CliRunner().invoke(build_app(), ["stretch", str(EXAMPLE), "--base", "160000"]).output
    assert "warning" not in near


def test_a_tuned_model_is_refused():
    with open_capture(TUNED) as capture, pytest.raises(ConfigError, match="does not turn as base 10,000"):
        measure_stretch(capture)


def test_a_model_tuned_at_a_longer_length_is_refused(monkeypatch):
    judge = module.judge_capture
    monkeypatch.setattr(module, "judge_capture", lambda capture: replace(judge(capture), trained_len=512))
    with open_capture(EXAMPLE) as capture, pytest.raises(ConfigError, match="was tuned at 512 tokens"):
        measure_stretch(capture)


def test_a_capture_that_does_not_break_is_refused(monkeypatch):
    judge = module.judge_capture
    monkeypatch.setattr(module, "judge_capture", lambda capture: replace(judge(capture), measured_limit=None))
    with (
        open_capture(EXAMPLE) as capture,
        pytest.raises(ConfigError, match="the loss does not break"),
    ):
        measure_stretch(capture)


def test_the_command_sets_it_beside_the_laws(stretch):
    asked = ["stretch", str(EXAMPLE), "--base", "160000", "--target-len", "1024"]
    told = CliRunner().invoke(build_app(), asked)
    assert told.exit_code == 0, told.output
    assert f"{stretch.limit_at(160_000.0):,.0f}" in told.output
    assert "386" in told.output  # the paper's
    given = json.loads(CliRunner().invoke(build_app(), [*asked, "--json"]).output)
    rows = given["bases"]
    assert rows[0]["stretched_limit"] == pytest.approx(stretch.limit_at(160_000.0))
    assert given["has_cliff"] is True
    assert rows[1]["stretched_limit"] == pytest.approx(1024)
    assert CliRunner().invoke(build_app(), ["stretch", str(EXAMPLE)]).exit_code != 0
