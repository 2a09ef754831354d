"""Arcs on the circle against every lag turned one by one."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.new_angles import measure_new_angles
from ropediag.analysis.pair_angles import measure_pair_angles
from ropediag.errors import ConfigError
from tests.analysis.captures import EXAMPLE
from tests.analysis.ragged import FULL, LAYERS, UNROTATED, write_ragged
from tests.store.synthetic import LENGTH, write_capture


def turn_every_lag(frequency, longest):
    """The angle up to which the lags below ``longest`` reach, one step of the pair short of a whole turn."""
    return max(min(frequency * (lag + 1), 2 * np.pi) for lag in range(longest))


@pytest.mark.parametrize("pair", range(0, 32, 3))
def test_arcs_equal_every_lag_turned(pair):
    with open_capture(EXAMPLE) as capture:
        found = measure_pair_angles(capture, 2, pair)
        frequency = capture.values("rope/inv_freq")[2, pair]
        angles = capture.values("vectors/angle")[2, pair]
    assert float(found.arc_trained) == pytest.approx(turn_every_lag(frequency, 128))
    assert float(found.arc_length) == pytest.approx(turn_every_lag(frequency, 8192))
    assert float(found.turns) == pytest.approx(8192 * frequency / (2 * np.pi))
    for angle, seen, applied in zip(angles, found.seen.values, found.angle.values, strict=True):
        assert np.exp(1j * angle) == pytest.approx(np.exp(1j * applied))
        assert bool(seen) == ((angle + 2 * np.pi) % (2 * np.pi) <= turn_every_lag(frequency, 128))


def test_shares_are_those_of_the_new_angles_where_no_layer_has_a_window():
    with open_capture(EXAMPLE) as capture:
        geometry = measure_new_angles(capture)
        for layer, pair in ((0, 0), (1, 14), (3, 31)):
            found, expected = measure_pair_angles(capture, layer, pair), geometry.sel(layer=layer, pair=pair)
            for name in ("coverage_trained", "coverage_length", "new_fraction", "period"):
                assert float(found[name]) == pytest.approx(float(expected[name]))


def test_a_layer_shows_no_more_than_its_window(tmp_path):
    """Of 40 tokens this layer's last bins hold no query-key pair: its lags end at 36."""
    with open_capture(write_capture(tmp_path / "run.h5")) as capture:
        seen = capture.values("scores/count")[0] > 0
        stops = np.append(capture.values("lag")[1:], LENGTH)
        longest = int(stops[seen].max())
        assert longest < LENGTH
        frequency = capture.values("rope/inv_freq")[0, 1]
        assert float(measure_pair_angles(capture, 0, 1).arc_length) == pytest.approx(longest * frequency)


def test_the_trained_arc_is_that_of_the_pretraining_base(tmp_path):
    path = write_ragged(tmp_path / "ragged.h5", pretrain_base=100.0, base=10_000.0)
    with open_capture(path) as capture:
        found = measure_pair_angles(capture, LAYERS[FULL], 2)
    assert float(found.arc_trained) == pytest.approx(16 * 100.0 ** (-2 / 3))


def test_what_does_not_turn_is_nan_and_an_unknown_training_an_error(tmp_path):
    with open_capture(write_ragged(tmp_path / "ragged.h5")) as capture:
        found = measure_pair_angles(capture, LAYERS[UNROTATED], 0)
        assert np.isnan(float(found.arc_trained))
        assert np.isnan(float(found.new_fraction))
    with (
        open_capture(write_ragged(tmp_path / "other.h5", train_len=0)) as capture,
        pytest.raises(ConfigError, match="length of pretraining"),
    ):
        measure_pair_angles(capture, LAYERS[FULL], 0)
