"""New angles of LLaMA2, and of models tuned with another base."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.new_angles import measure_new_angles
from ropediag.errors import ConfigError
from ropediag.rope import inv_freq, uniform_spec
from ropediag.theory.training import ALL_LAGS, Phase, Training
from tests.analysis.captures import EXAMPLE
from tests.trained import one_layer

PLAIN = inv_freq(128, 10_000.0)
LLAMA2 = one_layer(PLAIN, (PLAIN, 4096))


@pytest.mark.parametrize(
    ("length", "mean"), [(8192, 0.240128), (65_536, 0.666701), (1_048_576, 0.666701), (4096, 0.0)]
)
def test_llama2_s_mean_over_its_18_untrained_pairs(length, mean):
    found = measure_new_angles(LLAMA2, length)
    assert int((found.coverage_trained < 1).sum()) == 18
    assert float(found.mean_new[0]) == pytest.approx(mean, abs=5e-7)


def test_llama2_s_first_and_last_untrained_pair():
    """Coverages 0.869321 and 0.0752801; both have shown the whole turn within 65,536 tokens."""
    found = measure_new_angles(LLAMA2, 65_536).sel(layer=0)
    assert float(found.coverage_trained.sel(pair=46)) == pytest.approx(0.869321, abs=5e-7)
    assert float(found.new_fraction.sel(pair=46)) == pytest.approx(0.130679, abs=5e-7)
    assert float(found.new_fraction.sel(pair=63)) == pytest.approx(0.924720, abs=5e-7)
    assert float(found.period.sel(pair=63)) == pytest.approx(54410.1431)


def test_another_base_is_compared_with_the_angles_of_pretraining():
    """Code Llama: base 1e6 after pretraining at 1e4, so that fewer turns are made at the same length."""
    larger = inv_freq(128, 1e6)
    code_llama = one_layer(larger, (PLAIN, 4096))
    found = measure_new_angles(code_llama, 129_027).sel(layer=0)
    assert float(found.new_fraction.sel(pair=46)) == pytest.approx(1 - 0.869321, abs=1e-5)
    before = measure_new_angles(code_llama, 4096).sel(layer=0)
    assert float(before.new_fraction.max()) == 0
    tuned = measure_new_angles(one_layer(larger, (PLAIN, 4096), (larger, 16_384)), 16_384).sel(layer=0)
    assert float(tuned.new_fraction.max()) == 0


def test_interpolated_angles_are_compared_with_those_of_pretraining():
    found = measure_new_angles(one_layer(PLAIN / 2, (PLAIN, 4096)), 8192)
    assert float(found.new_fraction.max()) == 0
    assert float(measure_new_angles(one_layer(PLAIN / 2, (PLAIN / 2, 4096)), 8192).new_fraction.max()) > 0


def test_a_window_bounds_the_angles_that_are_met():
    found = measure_new_angles(one_layer(PLAIN, (PLAIN, 4096), window=4096), 65_536)
    assert float(found.new_fraction.max()) == 0


def test_layers_without_pairs_stay_unknown():
    turning = np.array([[1.0, 0.1], [np.nan, np.nan]])
    window, base = np.full(2, ALL_LAGS), np.full(2, np.nan)
    training = Training((Phase(turning, base, 4, window, "", ""),), turning, base, window)
    assert np.isnan(measure_new_angles(training, 100).mean_new[1])


def test_a_geometry_without_training_is_refused():
    with pytest.raises(ConfigError, match="needs a capture or a Training"):
        measure_new_angles(uniform_spec(inv_freq=np.ones(2), head_dim=4, layers=1, layout="half"), 100)


def test_a_capture_s_untrained_pairs_start_at_its_critical_one():
    with open_capture(EXAMPLE) as capture:
        found = measure_new_angles(capture)
        critical = capture.values("rope/critical_pair")
    first = (found.coverage_trained < 1).argmax("pair")
    assert first.values.tolist() == critical.tolist()
