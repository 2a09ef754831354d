"""Phase gaps of LLaMA2's fastest pairs, whose periods are known."""

import math

import numpy as np
import pytest

from ropediag.analysis.phase_gap import measure_phase_gap
from ropediag.rope import inv_freq, uniform_spec


def test_periods_of_llama2_are_rounded_to_whole_tokens():
    """6.283, 7.256, 8.379, 9.676, 11.173 and 12.903 tokens become 6, 7, 8, 10, 11 and 13."""
    found = measure_phase_gap(uniform_spec(1, 128, inv_freq(128, 10_000.0), "half"), 4096).sel(layer=0)
    whole = 2 * np.pi / found.resonant_inv_freq[:6]
    np.testing.assert_allclose(whole, [6, 7, 8, 10, 11, 13])
    np.testing.assert_allclose(found.miss[:6], [0.283, 0.256, 0.379, -0.324, 0.173, -0.097], atol=6e-4)
    assert float(found.gap[0]) == pytest.approx(2 * math.pi - 6)
    assert float(found.gap[3]) == pytest.approx(abs(2 * math.pi - 10 * inv_freq(128, 1e4)[3]))
    assert float(found.drift[0]) == pytest.approx((2 * math.pi - 6) * 4096 / 6)


def test_resonant_frequencies_have_no_gap_and_pairs_that_never_turn_none_either():
    frequencies = np.array([2 * math.pi / 7, 2 * math.pi / 40, 0.0])
    found = measure_phase_gap(uniform_spec(1, 6, frequencies, "half"), 100).sel(layer=0)
    np.testing.assert_allclose(found.gap[:2], 0, atol=1e-12)
    assert math.isnan(found.gap[2])
    assert math.isnan(found.resonant_inv_freq[2])
