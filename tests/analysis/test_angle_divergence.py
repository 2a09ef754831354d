"""Angle divergences of LLaMA2 against the published table, and counts against a loop."""

import math

import numpy as np
import pytest

from ropediag.analysis.angle_divergence import count_angles, measure_angle_divergence
from ropediag.rope import inv_freq
from ropediag.scaling import yarn_inv_freq
from tests.trained import one_layer

PLAIN = inv_freq(128, 10_000.0)
ROUNDING = 3e-3  # the paper computes angles in float32: see the docstring of ``measure_angle_divergence``


def measure(frequencies, length, **options):
    """LLaMA2 with these frequencies after pretraining with plain ones."""
    return measure_angle_divergence(one_layer(frequencies, (PLAIN, 4096)), length, **options)


@pytest.mark.parametrize(
    ("length", "factor", "interpolated", "extrapolated", "better"),
    [(8192, 2, 24.08, 182.35, 6.71), (16_384, 4, 33.67, 302.24, 22.92)],
)
def test_the_reverse_direction_reproduces_the_published_table(
    length, factor, interpolated, extrapolated, better
):
    """In units of 1e-3 nats; the paper prints all but those of extrapolation, which its code computes."""
    by_factor, plain = measure(PLAIN / factor, length).reverse, measure(PLAIN, length).reverse
    assert float(by_factor.mean()) * 1e3 == pytest.approx(interpolated, rel=ROUNDING)
    assert float(plain.mean()) * 1e3 == pytest.approx(extrapolated, rel=ROUNDING)
    assert float(np.minimum(by_factor, plain).mean()) * 1e3 == pytest.approx(better, rel=ROUNDING)


@pytest.mark.parametrize(("length", "factor", "expected"), [(8192, 2.0, 25.55), (16_384, 4.0, 35.44)])
def test_yarn_as_transformers_computes_it(length, factor, expected):
    found = measure(yarn_inv_freq(128, 10_000.0, factor, 4096), length)
    assert float(found.mean_reverse[0]) * 1e3 == pytest.approx(expected, rel=ROUNDING)


@pytest.mark.parametrize(("epsilon", "expected"), [(1e-3, 15.83), (1e-12, 334.7)])
def test_the_printed_direction_depends_on_its_epsilon(epsilon, expected):
    found = measure(PLAIN / 2, 8192, epsilon=epsilon)
    assert float(found.mean_printed[0]) * 1e3 == pytest.approx(expected, rel=2e-3)


def test_nothing_diverges_within_the_training_length():
    found = measure(PLAIN, 4096)
    np.testing.assert_allclose(found.reverse, 0, atol=1e-12)
    np.testing.assert_allclose(found.printed, 0, atol=1e-12)


def test_fewer_bins_than_training_tokens_tell_turned_pairs_from_others():
    """128 tokens leave most of 360 bins empty; in 16, a pair that turned fully does not diverge."""
    plain = inv_freq(64, 10_000.0)
    training = one_layer(plain, (plain, 128))
    many, few = (measure_angle_divergence(training, 8192, bins=bins).reverse[0] for bins in (360, 16))
    assert float(many[:8].min()) > 0.5
    assert float(few[:8].max()) < 0.05
    assert float(few[16:].min()) > 0.5


def test_counts_equal_a_loop_over_positions():
    frequencies = np.array([1.0, 0.01, 0.0])
    slow = np.zeros((3, 360), dtype=int)
    for pair, frequency in enumerate(frequencies):
        for position in range(1000):
            angle = math.fmod(position * frequency, 2 * math.pi)
            slow[pair, int(angle * 180 / math.pi)] += 1
    found = count_angles(frequencies, 1000)
    assert found.sum(-1).tolist() == [1000, 1000, 1000]
    np.testing.assert_array_equal(found, slow)


def test_rounding_does_not_move_an_angle_that_lies_on_an_edge():
    """A pair that turns by whole bins at each position, counted in whole numbers and for either rounding."""
    expected = np.bincount(np.arange(1000) * 7 % 360, minlength=360)
    exact = 7 * 2 * np.pi / 360
    rounded = np.array([np.nextafter(exact, 0), exact, np.nextafter(exact, 1)])
    np.testing.assert_array_equal(count_angles(rounded, 1000), [expected] * 3)


def test_counts_go_on_past_one_block_of_positions():
    length = 2**16 + 5000
    angle = np.arange(length) * inv_freq(4, 10_000.0)[1] % (2 * np.pi)
    expected = np.histogram(angle, bins=360, range=(0, 2 * np.pi))[0]
    found = count_angles(inv_freq(4, 10_000.0), length)[1]
    assert found.sum() == length
    assert abs(found - expected).max() <= 0.02 * expected.max()
