"""Recall: answers scored together, against the whole logits of each prompt by itself."""

import numpy as np
import pytest
import torch

from ropediag.evaluate import retrieval
from ropediag.evaluate.prompts import Prompts, recall_tasks
from ropediag.evaluate.retrieval import DEPTHS, measure_recall, recall_lengths, score_prompts
from ropediag.tune.measure import recall_hits
from ropediag.tune.recall import RecallWindows
from ropediag.tune.tokenizer import byte_tokenizer
from tests.families import tiny_model


def best_next(model, ids):
    with torch.no_grad():
        return int(model(torch.from_numpy(ids)[None]).logits[0, -1].argmax())


def score_slowly(model, prompts):
    """Write each answer token by token beside the prompt, and compare."""
    right = []
    for ids, answer in zip(prompts.ids, prompts.answer, strict=True):
        numbers = range(1, prompts.answer.max() + 1)
        places = [np.flatnonzero(answer == number) for number in numbers]
        right.append(
            [bool(len(at)) and all(best_next(model, ids[:t]) == ids[t] for t in at) for at in places]
        )
    return np.array(right)


def test_an_answer_counts_if_every_one_of_its_tokens_is_ranked_first(monkeypatch):
    monkeypatch.setattr(retrieval, "_TOKENS_A_PASS", 50)  # two prompts a pass
    model, random = tiny_model("llama"), np.random.default_rng(0)
    ids, answer = random.integers(3, 61, (7, 24)), np.zeros((7, 24), dtype=np.int64)
    answer[:, 14:16], answer[:, 18:21], answer[:3, 22] = 1, 2, 3
    for row in range(7):  # about half of the answers are what the model would write
        for number in (1, 2, 3):
            known = random.random() < 0.5
            for t in np.flatnonzero(answer[row] == number):
                ids[row, t] = best_next(model, ids[row, :t]) if known else ids[row, t]
    ids[0, 20] = 3 + (best_next(model, ids[0, :20]) == 3)  # wrong in its last token only
    prompts = Prompts(ids, answer, answer * 5)
    right, posed = score_prompts(model, prompts)
    expected = score_slowly(model, prompts)
    assert (right == expected).all()
    assert 0 < expected.sum() < posed.sum() == 7 + 7 + 3


def test_recall_by_length_and_depth_is_that_of_whole_logits():
    model = tiny_model("llama", vocab_size=256)
    with torch.no_grad():  # a model that answers every key with the same few letters, so that some are right
        model.lm_head.weight[: ord("A")] = model.lm_head.weight[ord("D") :] = 0
    text = np.frombuffer(b"for line in lines:\n    yield line.strip()\n" * 10, dtype=np.uint8).astype(int)
    make, said = recall_tasks(byte_tokenizer(), 256, text)["key-value"], []
    found = measure_recall(model, "key-value", make, (20, 64, 200), 12, seed=0, say=said.append)
    assert found.count[0].sum() == found.hits[0].sum() == 0, "two lines do not fit in 20 bytes"
    assert np.isnan(found.lag[0]).all()
    for row, length in ((1, 64), (2, 200)):
        for column, depth in enumerate(DEPTHS):
            prompts = retrieval.make_prompts(make, length, depth, 12, 0)
            windows = RecallWindows(prompts.ids, prompts.lag)
            assert found.hits[row, column] == recall_hits(model, windows).sum()
            assert found.count[row, column] == windows.answers.sum()
            assert found.lag[row, column] == pytest.approx(windows.lag[windows.answers].mean())
    assert found.hits.sum() > 0
    assert found.chance == pytest.approx(2 * 5 * 12 / found.count.sum())
    assert len(said) == 2


@pytest.mark.parametrize(("train_len", "length", "lengths"), [
    (128, 1024, (128, 256, 512, 1024)),
    (128, 1000, (128, 256, 512, 1000)),
    (128, 100, (100,)),
])  # fmt: skip
def test_lengths_double_from_the_training_length(train_len, length, lengths):
    assert recall_lengths(train_len, length) == lengths
