"""The share of right answers, from an evaluation file."""

import numpy as np
import pytest

from ropediag.analysis.recall import measure_recall_share
from ropediag.errors import CaptureError
from ropediag.store import open_capture, write_whole
from tests.store.synthetic import make_attributes, write_capture

COUNT = np.array([[[4, 5], [0, 0]], [[8, 8], [8, 8]]])
HITS = np.array([[[1, 5], [0, 0]], [[0, 2], [4, 6]]])


@pytest.fixture
def evaluation(tmp_path):
    coordinates = {"task": np.arange(2), "length": np.array([64, 128]), "depth": np.array([0.0, 1.0])}
    arrays = {
        "recall/task_name": np.array(["passkey", "needle"], dtype=object),
        "recall/hits": HITS,
        "recall/count": COUNT,
        "recall/answer_lag": np.ones((2, 2, 2), "f4"),
    }
    with open_capture(write_whole(tmp_path / "e.h5", coordinates, arrays, make_attributes())) as file:
        yield file


@pytest.mark.parametrize(("task", "place"), [(None, 0), ("passkey", 0), ("needle", 1)])
def test_the_share_is_hits_over_count_and_unknown_where_nothing_was_asked(evaluation, task, place):
    found = measure_recall_share(evaluation, task)
    assert found.share.dims == ("length", "depth")
    for cell in np.ndindex(2, 2):
        hits, count = HITS[place][cell], COUNT[place][cell]
        expected = hits / count if count else np.nan
        np.testing.assert_equal(float(found.share.values[cell]), expected)
    assert found.attrs["task"] == (task or "passkey")
    assert found.attrs["model"] == "toy"


def test_what_is_not_in_the_file_is_said(evaluation, tmp_path):
    with pytest.raises(CaptureError, match="no recall of 'key-value': only of passkey, needle"):
        measure_recall_share(evaluation, "key-value")
    with (
        open_capture(write_capture(tmp_path / "run.h5")) as capture,
        pytest.raises(CaptureError, match="no recall"),
    ):
        measure_recall_share(capture)
