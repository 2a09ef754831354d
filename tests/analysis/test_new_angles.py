"""New angles of LLaMA2, and of models tuned with another base."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.new_angles import measure_new_angles, trained_inv_freq
from ropediag.errors import ConfigError
from ropediag.rope import RopeSpec, inv_freq, uniform_spec
from tests.analysis.captures import EXAMPLE

LLAMA2 = {"layers": 1, "head_dim": 128, "layout": "half"}


def llama2(base=10_000.0, **training):
    return uniform_spec(inv_freq=inv_freq(128, base), base=base, **LLAMA2, **training)


@pytest.mark.parametrize(
    ("length", "mean"), [(8192, 0.240128), (65_536, 0.666701), (1_048_576, 0.666701), (4096, 0.0)]
)
def test_llama2_s_mean_over_its_18_untrained_pairs(length, mean):
    found = measure_new_angles(llama2(train_len=4096), length)
    assert int((found.coverage_trained < 1).sum()) == 18
    assert float(found.mean_new[0]) == pytest.approx(mean, abs=5e-7)


def test_llama2_s_first_and_last_untrained_pair():
    """Coverages 0.869321 and 0.0752801; both have shown the whole turn within 65,536 tokens."""
    found = measure_new_angles(llama2(train_len=4096), 65_536).sel(layer=0)
    assert float(found.coverage_trained.sel(pair=46)) == pytest.approx(0.869321, abs=5e-7)
    assert float(found.new_fraction.sel(pair=46)) == pytest.approx(0.130679, abs=5e-7)
    assert float(found.new_fraction.sel(pair=63)) == pytest.approx(0.924720, abs=5e-7)
    assert float(found.period.sel(pair=63)) == pytest.approx(54410.1431)


def test_another_base_is_compared_with_the_angles_of_pretraining():
    """Code Llama: base 1e6 after pretraining at 1e4, so that fewer turns are made at the same length."""
    training = {"pretrain_base": 10_000.0, "train_len": 4096}
    found = measure_new_angles(llama2(1e6, **training), 129_027).sel(layer=0)
    assert float(found.new_fraction.sel(pair=46)) == pytest.approx(1 - 0.869321, abs=1e-5)
    before = measure_new_angles(llama2(1e6, **training), 4096).sel(layer=0)
    assert float(before.new_fraction.max()) == 0
    tuned = measure_new_angles(llama2(1e6, **training, tune_len=16_384), 16_384).sel(layer=0)
    assert float(tuned.new_fraction.max()) == 0


def test_given_frequencies_of_pretraining_come_first():
    half = llama2(train_len=4096).inv_freq / 2
    interpolated = uniform_spec(inv_freq=half[0], base=10_000.0, train_len=4096, **LLAMA2)
    found = measure_new_angles(interpolated, 8192, trained=2 * half)
    assert float(found.new_fraction.max()) == 0
    assert float(measure_new_angles(interpolated, 8192).new_fraction.max()) > 0


def test_layers_without_pairs_stay_unknown():
    channels = np.array([[[0, 2], [1, 3]], [[-1, -1], [-1, -1]]])
    turning = np.array([[1.0, 0.1], [np.nan, np.nan]])
    spec = RopeSpec(turning, channels, np.ones(2), np.full(2, 4), "half", 100.0, 10.0, 4)
    assert np.isnan(trained_inv_freq(spec)[1]).all()
    np.testing.assert_allclose(trained_inv_freq(spec)[0], [1, 10**-0.5])
    assert np.isnan(measure_new_angles(spec, 100).mean_new[1])


def test_an_unknown_training_length_is_asked_for():
    with pytest.raises(ConfigError, match="length of pretraining"):
        measure_new_angles(uniform_spec(inv_freq=np.ones(2), head_dim=4, layers=1, layout="half"), 100)


def test_a_capture_s_untrained_pairs_start_at_its_critical_one():
    with open_capture(EXAMPLE) as capture:
        found = measure_new_angles(capture)
        critical = capture.values("rope/critical_pair")
    first = (found.coverage_trained < 1).argmax("pair")
    assert first.values.tolist() == critical.tolist()
