"""Loss and recall of models whose answers are known in advance."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ropediag.tune.measure import measure_loss, measure_recall, recall_hits, share_interval
from ropediag.tune.recall import RecallWindows, make_recall_windows

TEXT = np.frombuffer(b"while True:\n    pass\n" * 40, dtype=np.uint8)


class Oracle(torch.nn.Module):
    """Knows the next token where ``knows(position)`` is true, and finds all tokens equal elsewhere."""

    def __init__(self, knows=lambda position: position >= 0):
        super().__init__()
        self.knows = knows
        self.device = torch.device("cpu")

    def forward(self, input_ids, use_cache):
        following = torch.nn.functional.one_hot(input_ids.roll(-1, dims=1), 256) * 100.0
        known = self.knows(torch.arange(input_ids.shape[1]))
        return SimpleNamespace(logits=following * known[:, None])


def random_ids(windows=130, length=32):
    return np.random.default_rng(0).integers(1, 256, (windows, length))


def test_a_model_that_knows_nothing_loses_the_logarithm_of_the_vocabulary():
    loss = measure_loss(Oracle(lambda position: position < 0), random_ids())
    assert loss.value == pytest.approx(math.log(256), abs=1e-6)
    assert loss.count == 130
    assert loss.high - loss.low == pytest.approx(0, abs=1e-6)


def test_only_tokens_with_half_a_window_before_them_are_scored():
    ids = random_ids()
    assert measure_loss(Oracle(lambda position: position >= 15), ids).value == pytest.approx(0, abs=1e-6)
    one_missed = measure_loss(Oracle(lambda position: position >= 16), ids).value
    assert one_missed == pytest.approx(math.log(256) / 16, abs=1e-6)


def test_the_interval_is_that_of_the_mean_over_windows():
    ids = random_ids(windows=100)
    ids[:50] = 0  # a window of one token, told apart by a model that knows token 0 only
    model = Oracle()
    model.forward = lambda input_ids, use_cache: SimpleNamespace(
        logits=torch.nn.functional.one_hot(torch.zeros_like(input_ids), 256) * math.log(255)
    )
    loss = measure_loss(model, ids)
    low, high = math.log(2), math.log(2) + math.log(255)
    assert loss.value == pytest.approx((low + high) / 2, abs=1e-5)
    error = 1.96 * (high - low) / 2 * math.sqrt(100 / 99) / 10
    assert loss.high - loss.value == pytest.approx(error, rel=1e-3)


def test_recall_counts_answers_ranked_first():
    windows = make_recall_windows(TEXT, 64, 70, 0)
    assert measure_recall(Oracle(), windows).value == 1.0
    assert measure_recall(Oracle(), windows).count == windows.answers.sum()
    assert (recall_hits(Oracle(), windows) == windows.answers).all()
    assert measure_recall(Oracle(lambda position: position < 0), windows).value == 0.0


def test_hits_tell_which_answers_were_right():
    windows = make_recall_windows(TEXT, 64, 70, 0)
    hits = recall_hits(Oracle(lambda position: position >= 40), windows)
    expected = windows.answers & (np.arange(64) > 40)
    assert (hits == expected).all()
    share = measure_recall(Oracle(lambda position: position >= 40), windows).value
    assert share == pytest.approx(expected.sum() / windows.answers.sum())


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(0, 10, 0.0, 0.27753), (10, 10, 0.72247, 1.0), (50, 100, 0.40383, 0.59617), (81, 263, 0.25528, 0.36619)],
)
def test_shares_get_wilsons_interval(hits, count, low, high):
    estimate = share_interval(hits, count)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=2e-4)
    assert estimate.value == hits / count


def test_measuring_leaves_the_model_in_its_mode():
    for training in (True, False):
        model = Oracle().train(training)
        measure_recall(model, RecallWindows(random_ids(2), np.ones((2, 32), dtype=np.int64)))
        assert model.training is training
