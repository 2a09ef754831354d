"""One sentence where loss and recall disagree, none where they agree or cannot be compared."""

import numpy as np
import pytest

from ropediag.evaluate.retrieval import Recall
from ropediag.evaluate.verdict import RecallAt, find_disagreement, find_disagreements

GOOD = RecallAt(128, 95, 100)


def recall(*beyond):
    return [GOOD, *(RecallAt(256 * 2**place, hits, 100) for place, hits in enumerate(beyond))]


def test_a_low_loss_without_recall_is_not_retrieval():
    said = find_disagreement(None, 128, recall(90, 10), chance=0.33)
    assert said == (
        "Low perplexity is not retrieval here: at 512 tokens the loss still holds, but recall has fallen "
        "from 95% to 10%."
    )


def test_a_limit_between_the_lengths_decides_which_of_them_the_loss_holds_at():
    assert "at 256 tokens" in find_disagreement(300, 128, recall(10, 5), chance=0.33)
    assert find_disagreement(300, 128, recall(90, 5), chance=0.33) is None


def test_recall_may_outlast_the_loss():
    said = find_disagreement(140, 128, recall(92, 10), chance=0.33)
    assert said == (
        "Recall outlasts the loss here: more context harms the loss from position 140 on, but at 256 tokens "
        "recall is 92%, after 95% inside the training length."
    )


@pytest.mark.parametrize(("limit", "beyond"), [(None, (95, 93)), (140, (3, 0)), (256, (90, 0))])
def test_where_both_hold_or_both_break_nothing_is_said(limit, beyond):
    assert find_disagreement(limit, 128, recall(*beyond), chance=0.33) is None


def test_recall_at_chance_within_the_training_length_tells_nothing():
    said = find_disagreement(None, 128, [RecallAt(128, 35, 100), RecallAt(256, 30, 100)], chance=0.33)
    assert said.startswith("Recall tells nothing of length here: within the training length it is 35%")
    assert find_disagreement(None, 128, [RecallAt(128, 0, 100), RecallAt(256, 0, 100)], chance=0.0)


def test_what_is_lost_is_counted_from_chance():
    assert find_disagreement(None, 128, recall(70), chance=0.33) is None
    assert find_disagreement(None, 128, recall(60), chance=0.33)
    assert find_disagreement(None, 128, recall(60), chance=0.0) is None


@pytest.mark.parametrize("measured", [[], [GOOD], [RecallAt(256, 90, 100)]])
def test_both_sides_of_the_training_length_must_be_measured(measured):
    assert find_disagreement(None, 128, measured, chance=0.0) is None


def test_each_task_is_compared_over_all_its_depths():
    hits = {"passkey": [[0, 0], [4, 4], [0, 1]], "needle": [[0, 0], [4, 3], [4, 3]]}
    count = np.array([[0, 0], [4, 4], [4, 4]])  # no prompt is as short as 64 tokens
    recall = [
        Recall(task, (64, 128, 256), (0.0, 1.0), np.array(found), count, np.zeros((3, 2)), 0.0)
        for task, found in hits.items()
    ]
    (said,) = find_disagreements(None, 128, recall)
    assert "from 100% to 12%" in said
