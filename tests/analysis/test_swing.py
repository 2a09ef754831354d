"""The swing: amplitude of the cosine through a pair's mean contribution, against least squares by hand."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.swing import fit_swing, measure_swing
from ropediag.rope import average_turns
from tests.analysis.captures import EXAMPLE

EDGES, LENGTH = np.unique(np.geomspace(1, 300, 24).astype(int)) - 1, 400
FREQUENCY = np.array([[1.0, 0.2, 0.01, 0.0, np.nan]])


def slow_turn(frequency, low, stop):
    return np.mean([np.exp(1j * frequency * lag) for lag in range(low, stop)])


def test_a_swing_is_the_amplitude_that_least_squares_finds():
    random = np.random.default_rng(0)
    mean = random.normal(size=(1, 2, 5, len(EDGES)))
    mean[0, :, 4] = np.nan
    mean[0, 1, 1, -3:] = np.nan  # lags past a window
    swing, fit = fit_swing(mean, average_turns(FREQUENCY, EDGES, LENGTH))
    stops = [*EDGES[1:], LENGTH]
    for head, pair in np.ndindex(2, 3):
        turns = [slow_turn(FREQUENCY[0, pair], low, stop) for low, stop in zip(EDGES, stops, strict=True)]
        seen = np.isfinite(mean[0, head, pair])
        waves = np.array([[turn.real, turn.imag] for turn in turns])[seen]
        values = mean[0, head, pair][seen]
        found, *_ = np.linalg.lstsq(waves, values, rcond=None)
        assert swing[0, head, pair] == pytest.approx(np.hypot(*found))
        left = ((values - waves @ found) ** 2).sum() / (values**2).sum()
        assert fit[0, head, pair] == pytest.approx(1 - left)
    np.testing.assert_allclose(swing[0, :, 3], abs(mean[0, :, 3].mean(-1)))  # a pair that never turns
    assert np.isnan(swing[0, :, 4]).all()


def test_a_cosine_of_any_phase_has_its_amplitude_for_a_swing():
    turns = average_turns(FREQUENCY[:, :3], EDGES, LENGTH)
    mean = (turns * 1.7 * np.exp(-0.8j)).real[:, None]
    swing, fit = fit_swing(mean, turns)
    np.testing.assert_allclose(swing, 1.7)
    np.testing.assert_allclose(fit, 1.0)


def test_the_slow_pairs_that_swing_in_the_bundled_model_are_those_next_to_the_critical_one():
    with open_capture(EXAMPLE) as capture:
        found = measure_swing(capture).load()
    whole = found.swing.sum(("layer", "query_head")).values
    assert np.argsort(whole[11:])[::-1][:3].tolist() == [3, 2, 4]  # pairs 14, 13, 15
    assert (found.swing_se > 0).all()
