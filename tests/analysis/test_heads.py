"""Query heads find the key heads they share."""

import numpy as np
import pytest

from ropediag.analysis.heads import match_heads
from ropediag.errors import CaptureError


@pytest.mark.parametrize("group", [1, 2, 3, 8])
def test_all_heads_of_a_model_find_their_key_heads(group):
    queries = np.arange(24)
    assert match_heads(queries, np.arange(24 // group)).tolist() == (queries // group).tolist()


def test_chosen_heads_find_their_place_on_the_axis():
    assert match_heads(np.array([2, 5, 6]), np.array([1, 2, 3])).tolist() == [0, 1, 2]
    assert match_heads(np.array([1, 2, 3]), np.array([0, 1])).tolist() == [0, 1, 1]


def test_heads_that_do_not_fit_are_an_error():
    with pytest.raises(CaptureError, match="equal groups"):
        match_heads(np.array([0, 1]), np.array([5]))
