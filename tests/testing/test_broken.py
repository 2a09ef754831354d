"""A model with one broken pair drifts there, as far as the pair's angle gets, and nowhere else."""

import numpy as np
import pytest

from ropediag import capture_model, open_capture
from ropediag.analysis.drift import measure_drift
from ropediag.errors import ConfigError
from ropediag.testing.broken import make_broken_model, random_tokens

TRAINED, LENGTH = 64, 1024


def drift_of(tmp_path, *place):
    model = make_broken_model(*place)
    options = {"train_len": TRAINED, "pretrain_base": 10_000.0, "excess": False, "name": "broken", "rows": 4}
    path = capture_model(model, random_tokens(8, LENGTH, seed=5), tmp_path / "broken.h5", **options)
    with open_capture(path) as capture:
        return measure_drift(capture).load()


@pytest.mark.parametrize("place", [(1, 0, 11), (0, 1, 8)])
def test_the_broken_pair_and_no_other_drifts(tmp_path, place):
    drift = drift_of(tmp_path, *place)
    assert np.argwhere(drift.drifts.values).tolist() == [list(place)]
    assert drift.drift.values[place] > 1
    assert TRAINED <= drift.onset.values[place] <= 6 * TRAINED


@pytest.mark.parametrize("pair", [2, 15])
def test_a_pair_that_shows_no_new_angle_does_not_drift(tmp_path, pair):
    """Pair 2 made a full turn in training; pair 15 turns by no more than 0.2 rad at this length."""
    assert not drift_of(tmp_path, 0, 0, pair).drifts.any()


def test_a_place_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="query_head must be from 0 to 1: got 2"):
        make_broken_model(0, 2, 3)
