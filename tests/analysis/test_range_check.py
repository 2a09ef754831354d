"""Ranges at seen lags: against loops, quiet where nothing happens, loud where a seen lag strays."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.range_check import HALF, STRAYS, find_strays, measure_range_check
from ropediag.analysis.verdict import judge_capture
from tests.analysis.captures import EXAMPLE

TUNED = EXAMPLE.with_name("example-tuned-b160000-8192.h5")


def slow_stray(low, high, learned, seen, scale):
    tops, bottoms, most = [], [], -np.inf
    for bin_ in np.flatnonzero(learned):
        tops.append(np.mean([high[sequence][bin_] for sequence in range(0, len(high), 2)]))
        bottoms.append(np.mean([low[sequence][bin_] for sequence in range(0, len(low), 2)]))
    for bin_ in np.flatnonzero(seen):
        up = np.mean([high[sequence][bin_] for sequence in range(1, len(high), 2)])
        down = np.mean([low[sequence][bin_] for sequence in range(1, len(low), 2)])
        most = max(most, up - max(tops), min(bottoms) - down)
    return most / scale


def test_it_is_what_loops_find():
    random = np.random.default_rng(3)
    middle, half = random.normal(size=(9, 2, 3, 12)), random.uniform(size=(9, 2, 3, 12))
    learned, seen = random.random((3, 12)) < 0.5, random.random((3, 12)) < 0.8
    scale = random.uniform(0.5, 2, (2, 3))
    found = find_strays(middle - half, middle + half, learned, seen, scale)
    for head, pair in np.ndindex(2, 3):
        low, high = (side[:, head, pair] for side in (middle - half, middle + half))
        expected = slow_stray(low, high, learned[pair], seen[pair], scale[head, pair])
        assert found[head, pair] == pytest.approx(expected)


def test_a_pair_without_a_bin_to_learn_from_or_to_test_is_not_tested():
    low = np.zeros((8, 1, 2, 4))
    bins = np.array([[True] * 4, [False] * 4])
    found = find_strays(low, low, bins, bins, np.ones((1, 2)))
    assert found[0, 0] == 0
    assert np.isnan(found[0, 1])
    assert np.isnan(find_strays(low[: 2 * HALF - 1], low[: 2 * HALF - 1], bins, bins, np.ones((1, 2)))).all()


def test_the_ranges_of_the_bundled_model_hold_at_seen_angles():
    with open_capture(EXAMPLE) as capture:
        found, verdict = measure_range_check(capture), judge_capture(capture)
    assert found.stray.notnull().all()
    assert found.stray.max() < STRAYS
    assert (verdict.range_tested, verdict.range_strays) == (found.stray.size, 0)
    assert any("of 256 pairs exceed 0.5" in sentence["text"] for sentence in verdict.sentences)


def test_fewer_sequences_are_said_not_to_be_tested():
    with open_capture(TUNED) as capture:
        assert capture.sizes["sequence"] < 2 * HALF
        found, verdict = measure_range_check(capture), judge_capture(capture)
    assert found.stray.isnull().all()
    assert (verdict.range_tested, verdict.range_strays) == (0, 0)
    described = [sentence["text"] for sentence in verdict.sentences if sentence["kind"] == "description"]
    assert any("was not tested: that takes 8 sequences" in text for text in described)
