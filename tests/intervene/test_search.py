"""The search for a smallest set: planted sets are found, and nothing can be taken from what is found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ropediag.intervene.search import find_smallest


@given(st.sets(st.integers(0, 31), min_size=1, max_size=8))
def test_a_planted_set_is_found(planted):
    found, share, runs = find_smallest(range(32), lambda pairs: float(planted <= set(pairs)), 0.9)
    assert set(found) == planted
    assert share == 1.0
    assert runs < 32 * len(planted) + 32


@given(st.integers(0, 1000), st.floats(0.1, 0.9))
def test_no_pair_can_be_taken_from_what_is_found(seed, target):
    parts = np.random.default_rng(seed).dirichlet(np.ones(12))

    def share(pairs):
        return float(parts[list(pairs)].sum())

    found, reached, _ = find_smallest(range(12), share, target)
    assert reached == pytest.approx(share(found))
    assert reached >= target
    assert all(share([pair for pair in found if pair != one]) < target for one in found)


def test_a_pair_that_can_go_only_once_a_slower_one_has_gone_goes():
    """Shares need not fall with each pair that goes: here 1 does harm once 0 has gone."""
    shares = {(0, 1, 2): 0.9, (1, 2): 0.5, (0, 2): 0.9, (0, 1): 0.1, (2,): 0.9, (0,): 0.1, (1,): 0.1}
    assert find_smallest((0, 1, 2), shares.__getitem__, 0.8)[:2] == ((2,), 0.9)


def test_where_all_pairs_are_not_enough_there_is_no_set():
    assert find_smallest((3, 4), lambda pairs: 0.5, 0.6) == (None, 0.5, 1)
    assert find_smallest((3,), lambda pairs: 0.5, 0.5) == ((3,), 0.5, 1)
