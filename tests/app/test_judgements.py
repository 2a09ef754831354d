"""Pages say of a capture and of a pair what the analysis says, and colour no more than it found."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from ropediag import open_capture
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.pair_profile import JUDGEMENTS, measure_pair_profile
from ropediag.analysis.verdict import judge_capture
from ropediag.analysis.wording import word_headline
from ropediag.app.pages import overview, pairs
from tests.analysis.captures import EXAMPLE


@pytest.fixture(scope="module")
def verdict():
    with open_capture(EXAMPLE) as capture:
        return judge_capture(capture)


@pytest.mark.parametrize(
    ("loss_breaks", "drifts", "colour"),
    [
        (True, True, "red.8"),
        (False, True, "#b03a06"),
        (False, False, "green.9"),
        (None, False, "gray.7"),
        (None, None, "gray.7"),
    ],
)
def test_the_headline_is_that_of_the_report(verdict, loss_breaks, drifts, colour) -> None:
    judged = replace(verdict, loss_breaks=loss_breaks, drifts=drifts)
    badge = overview._show_verdict(SimpleNamespace(measure=lambda function: judged))[0].children[0]
    assert (badge.children, badge.color) == (word_headline(judged), colour)


@pytest.mark.parametrize("judgement", JUDGEMENTS)
@pytest.mark.parametrize("side", ["before", "past", ""])
def test_a_pair_is_called_what_the_analysis_calls_it(monkeypatch, judgement, side) -> None:
    with open_capture(EXAMPLE) as capture:
        profile = measure_pair_profile(capture, 1, 1, 14, measure_drift(capture))
    profile = profile.assign_attrs(judgement=judgement, side=side)
    monkeypatch.setattr(pairs, "_measure_profile", lambda view: profile)
    badge, _, critical, *_ = pairs._show_pair(SimpleNamespace(layer=1, query_head=1, pair=14))[1].children
    assert badge.children.lower() == judgement
    assert (badge.color == "gray.7") == (judgement != "drifts")
    assert ("lies" in str(critical)) == bool(side)
    assert f"lies {side}" in str(critical) or not side
