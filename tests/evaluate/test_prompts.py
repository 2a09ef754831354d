"""Recall prompts: the answer follows from the prompt itself, and stands where it is said to."""

import re

import numpy as np
import pytest

from ropediag.evaluate.prompts import LINES, make_prompts, recall_tasks
from ropediag.tune.tokenizer import byte_tokenizer
from tests.evaluate.bpe import bpe_tokenizer

BYTES = np.frombuffer(b"for line in lines:\n    yield line.strip()\n" * 30, dtype=np.uint8).astype(np.int64)
DEPTHS = [0.0, 0.3, 1.0]


def tasks():
    tokenizer = bpe_tokenizer()
    text = np.array(tokenizer("The harbour was full of lanterns, and no one slept. " * 60)["input_ids"])
    return recall_tasks(tokenizer, len(tokenizer), text)


def test_bytes_are_given_lines_words_are_given_prompts_and_ids_nothing():
    assert list(recall_tasks(byte_tokenizer(), 256, BYTES)) == ["key-value"]
    assert list(recall_tasks(byte_tokenizer(), 300, BYTES)) == ["passkey", "needle"]
    assert list(tasks()) == ["passkey", "needle"]
    assert recall_tasks(None, 256, BYTES) == {}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("length", [LINES, 60, 400])
def test_key_value_lines_stand_at_their_depth_and_answer_the_last_line(length, depth):
    make = recall_tasks(byte_tokenizer(), 256, BYTES)["key-value"]
    prompts = make_prompts(make, length, depth, 6, seed=3)
    assert prompts.ids.shape == (6, length)
    for ids, answer, lag in zip(prompts.ids, prompts.answer, prompts.lag, strict=True):
        text = bytes(ids.tolist()).decode()
        line, asked = re.search("#set (.*)\n", text), re.search("#get (.*)\n", text)
        values = dict(re.findall("([a-z])([A-Z])", line[1]))
        expected = {asked.start(1) + pair.start() + 1: pair[1] for pair in re.finditer("([a-z]).", asked[1])}
        assert np.flatnonzero(answer).tolist() == sorted(expected)
        assert answer[answer > 0].tolist() == list(range(1, len(values) + 1))
        for place, key in expected.items():
            assert chr(ids[place]) == values[key] == chr(ids[place - lag[place]])
            assert line.start(1) < place - lag[place] < line.end(1)
        assert abs(line.start() - depth * (length - LINES)) <= 8.5, "a shorter line leaves room before it"
        assert asked.end() >= length - 8


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("task", ["passkey", "needle"])
def test_a_prompt_has_its_fact_at_depth_and_ends_with_the_answer(task, depth):
    tokenizer, length = bpe_tokenizer(), 420
    prompts = make_prompts(tasks()[task], length, depth, 4, seed=3)
    assert prompts.ids.shape == (4, length)
    keys = set()
    for ids, answer, lag in zip(prompts.ids, prompts.answer, prompts.lag, strict=True):
        start = int(np.flatnonzero(answer)[0])
        assert (answer == (np.arange(length) >= start)).all(), "one answer, at the very end"
        key = tokenizer.decode(ids[start:]).strip()
        keys.add(key)
        assert re.fullmatch(r"\d{5}|\d{7}", key)
        fact = tokenizer.decode(ids[start - lag[start] :])
        assert re.match(r"\s*The (pass key|special magic number for \w+) is " + key, fact)
        before = tokenizer.decode(ids[: start - lag[start]])
        assert key not in before
    assert len(keys) == 4


@pytest.mark.parametrize("task", ["passkey", "needle"])
def test_depth_moves_the_fact_evenly_from_the_beginning_to_the_question(task):
    where = []
    for depth in (0.0, 0.25, 0.5, 0.75, 1.0):
        prompts = make_prompts(tasks()[task], 900, depth, 4, seed=3)
        starts = (prompts.answer > 0).argmax(axis=1)
        where.append(np.mean(starts - prompts.lag[np.arange(4), starts]))
    np.testing.assert_allclose(np.diff(where), np.diff(where).mean(), atol=3)
    assert where[-1] - where[0] > 600


def test_what_does_not_fit_is_not_made():
    assert make_prompts(tasks()["passkey"], 40, 0.5, 2, seed=0) is None
    assert make_prompts(recall_tasks(byte_tokenizer(), 256, BYTES)["key-value"], LINES - 1, 0.5, 2, 0) is None


def test_the_same_seed_gives_the_same_prompts_and_another_one_others():
    make = tasks()["needle"]
    first, second, other = (make_prompts(make, 300, 0.5, 3, seed).ids for seed in (1, 1, 2))
    assert (first == second).all()
    assert (first != other).any()
