"""Recall windows: every answer follows from the window itself, and stands where it is said to."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ropediag.errors import ConfigError
from ropediag.tune.recall import MIN_LENGTH, make_recall_windows, recall_window

TEXT = np.frombuffer(b"for line in lines:\n    yield line.strip()\n" * 40, dtype=np.uint8)


def solve(window):
    """Answer a window's queries from its defining line alone: {position: byte}."""
    text = bytes(window.tolist()).decode()
    defined = dict(re.findall("([a-z])([A-Z])", re.search("#set (.*)\n", text)[1]))
    asked = re.search("#get (.*)\n", text)
    return {
        asked.start(1) + pair.start() + 1: ord(defined[pair[1]])
        for pair in re.finditer("([a-z])[A-Z]", asked[1])
    }


@given(length=st.integers(MIN_LENGTH, 300), seed=st.integers(0, 2**40))
def test_the_defining_line_answers_every_query(length, seed):
    windows = make_recall_windows(TEXT, length, 3, seed)
    assert windows.ids.shape == windows.lag.shape == (3, length)
    for ids, answers in zip(windows.ids, windows.answers, strict=True):
        expected = solve(ids)
        assert sorted(expected) == np.flatnonzero(answers).tolist()
        assert all(ids[position] == byte for position, byte in expected.items())


@given(length=st.integers(MIN_LENGTH, 300), seed=st.integers(0, 2**40))
def test_a_lag_leads_back_to_the_value_after_the_same_key(length, seed):
    windows = make_recall_windows(TEXT, length, 3, seed)
    for ids, lag in zip(windows.ids, windows.lag, strict=True):
        for position in np.flatnonzero(lag):
            defined = position - lag[position]
            assert (ids[defined - 1 : defined + 1] == ids[position - 1 : position + 1]).all()


def test_keys_are_distinct_and_values_cannot_be_guessed():
    windows = make_recall_windows(TEXT, 128, 400, 0)
    values = windows.ids[windows.answers]
    counts = np.bincount(values - ord("A"), minlength=26)
    assert counts.max() < 2 * values.size / 26
    for ids in windows.ids:
        keys = re.findall("[a-z]", re.search(b"#set (.*)\n", bytes(ids.tolist()))[1].decode())
        assert len(set(keys)) == len(keys) >= 2


def test_lags_reach_across_the_training_window():
    lag = make_recall_windows(TEXT, 128, 400, 0).lag
    assert lag[lag > 0].min() < 20
    assert lag.max() > 110


@given(seed=st.integers(0, 2**40), repeat=st.booleans())
def test_each_round_asks_for_every_key_once(seed, repeat):
    ids, lag = recall_window(np.random.default_rng(seed), TEXT, 128, repeat=repeat)
    asked = np.flatnonzero(lag)
    defined = set((asked - lag[asked]).tolist())
    assert asked.size % len(defined) == 0
    assert repeat or asked.size == len(defined)
    for one in (asked - lag[asked]).reshape(-1, len(defined)):
        assert set(one.tolist()) == defined
    assert asked.tolist() == sorted(solve(ids))


def test_training_windows_are_dense_in_answers():
    windows = [recall_window(np.random.default_rng(n), TEXT, 128, repeat=True) for n in range(200)]
    assert np.mean([np.count_nonzero(lag) for _, lag in windows]) > 25


@pytest.mark.parametrize("gap", [0, 1, 300])
def test_a_given_gap_is_the_text_between_the_lines(gap):
    for ids in make_recall_windows(TEXT, 400, 20, 3, gap=gap).ids:
        between = re.search("(?s)#set [^\n]*\n(.*)#get ", bytes(ids.tolist()).decode())[1]
        assert len(between) == gap


def test_windows_follow_from_the_seed_and_differ():
    first, again, other = (make_recall_windows(TEXT, 128, 4, seed).ids for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).any()
    assert np.unique(first, axis=0).shape == first.shape


@pytest.mark.parametrize(("length", "gap"), [(MIN_LENGTH - 1, None), (128, 109)])
def test_a_window_without_room_for_two_pairs_is_refused(length, gap):
    with pytest.raises(ConfigError, match=rf"window of {length} tokens is too short"):
        make_recall_windows(TEXT, length, 1, 0, gap=gap)


def test_a_text_shorter_than_a_window_is_refused():
    with pytest.raises(ConfigError, match="the text has 127 bytes"):
        make_recall_windows(TEXT[:127], 128, 1, 0)
