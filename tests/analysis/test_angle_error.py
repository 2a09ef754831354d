"""Angle errors: float32's own at known lengths, and a model's beside it."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.angle_error import find_float32_error, measure_angle_error
from ropediag.rope import inv_freq
from tests.analysis.captures import EXAMPLE


@pytest.mark.parametrize(
    ("length", "worst"), [(4096, 0.00024), (65_536, 0.0039), (131_072, 0.0078), (1_048_576, 0.062)]
)
def test_float32_s_worst_error_over_all_positions_of_llama2(length, worst):
    """Recomputed values; every time it is pair 1, since pair 0 turns by whole radians."""
    largest = np.zeros(64)
    for start in range(0, length, 2**16):
        positions = np.arange(start, min(start + 2**16, length))
        np.maximum(largest, find_float32_error(inv_freq(128, 1e4)[:3], positions).max(-1).max(), out=largest)
    pairs = find_float32_error(inv_freq(128, 1e4), np.arange(length - 4096, length)).max(-1)
    assert largest[0] == pytest.approx(worst, rel=0.03)
    assert pairs.argmax() == 1
    assert pairs[0] == 0


def test_the_bundled_model_errs_as_float32_does():
    with open_capture(EXAMPLE) as capture:
        found = measure_angle_error(capture).load()
        stored = capture.values("vectors/angle_error")
    assert float(found.worst.sel(layer=1, pair=3)) == abs(stored[1, 3]).max()
    assert float(found["mean"].sel(layer=1, pair=3)) == pytest.approx(abs(stored[1, 3]).mean())
    assert float(found.worst.max()) < 3e-4 + 3 * float(found.worst_float32.max())
