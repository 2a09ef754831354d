"""Token ids as callers have them, and what would be counted wrongly."""

import numpy as np
import pytest
import torch
from transformers import BatchEncoding

from ropediag.capture import capture_model
from ropediag.errors import ConfigError
from ropediag.evaluate import evaluate_model
from ropediag.intervene import ablate_model
from ropediag.models.inputs import take_ids
from tests.families import tiny_model

IDS = [[1, 2, 3], [4, 5, 6]]
MASK = [[1, 1, 1], [0, 1, 1]]


@pytest.mark.parametrize(
    "given",
    [
        IDS,
        np.array(IDS),
        np.array(IDS, dtype=np.uint8),
        torch.tensor(IDS),
        {"input_ids": IDS},
        BatchEncoding({"input_ids": IDS}),
    ],
    ids=lambda given: type(given).__name__,
)
def test_ids_are_taken_as_they_come(given):
    taken = take_ids(given, np.ones((2, 3)))
    assert taken.tolist() == IDS
    assert taken.dtype == np.int64


def test_one_sequence_is_a_row():
    assert take_ids([7, 8]).tolist() == [[7, 8]]


@pytest.mark.parametrize(
    ("given", "mask", "message"),
    [
        (IDS, MASK, "leaves out 1 of 6 tokens, and padding would be counted as text"),
        ({"input_ids": IDS, "attention_mask": MASK}, None, "leaves out 1 of 6 tokens"),
        (IDS, [[1, 1]], r"attention_mask has shape \(1, 2\), and input_ids \(2, 3\)"),
        ([[1, 2], [3]], None, "must have one length, without padding"),
        ([[1.0, 2.0]], None, r"whole numbers, \(sequence, position\): got float64"),
        ({"ids": IDS}, None, "must hold input_ids: got"),
        ([[]], None, "whole numbers"),
    ],
)
def test_what_would_be_counted_wrongly_is_refused(given, mask, message):
    with pytest.raises(ConfigError, match=message):
        take_ids(given, mask)


RUNS = {
    "capture": lambda model, ids, folder: capture_model(model, ids, folder / "a.h5", train_len=8),
    "evaluate": lambda model, ids, folder: evaluate_model(model, ids, train_len=8),
    "ablate": lambda model, ids, folder: ablate_model(model, ids, train_len=8),
}


@pytest.mark.parametrize("run", RUNS)
def test_no_run_counts_padding_as_text(run, tmp_path):
    model, padded = tiny_model("llama"), {"input_ids": np.ones((2, 30), int), "attention_mask": np.eye(2, 30)}
    with pytest.raises(ConfigError, match="padding would be counted as text"):
        RUNS[run](model, padded, tmp_path)
