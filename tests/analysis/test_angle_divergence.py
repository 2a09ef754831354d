"""Angle divergences of LLaMA2 against the published table, and counts against a loop."""

import math

import numpy as np
import pytest

from ropediag.analysis.angle_divergence import count_angles, measure_angle_divergence
from ropediag.rope import inv_freq, uniform_spec
from ropediag.scaling import yarn_inv_freq

PLAIN = (1 / np.float32(10_000) ** (np.arange(0, 128, 2, dtype=np.float32) / 128)).astype(float)


def measure(frequencies, length, **options):
    """LLaMA2 with these frequencies after pretraining with plain ones, both in float32 as released."""
    spec = uniform_spec(1, 128, frequencies, "half", base=10_000.0, train_len=4096)
    return measure_angle_divergence(spec, length, trained=PLAIN[None], **options)


@pytest.mark.parametrize(
    ("length", "factor", "interpolated", "extrapolated", "better"),
    [(8192, 2, 24.081, 182.349, 6.712), (16_384, 4, 33.677, 302.239, 22.931)],
)
def test_the_reverse_direction_reproduces_the_published_table(
    length, factor, interpolated, extrapolated, better
):
    """In units of 1e-3 nats; the paper prints 24.08 and 33.67, and 6.71 and 22.92 for the better by pair."""
    by_factor, plain = measure(PLAIN / factor, length).reverse, measure(PLAIN, length).reverse
    assert float(by_factor.mean()) * 1e3 == pytest.approx(interpolated, abs=1e-3)
    assert float(plain.mean()) * 1e3 == pytest.approx(extrapolated, abs=1e-3)
    assert float(np.minimum(by_factor, plain).mean()) * 1e3 == pytest.approx(better, abs=1e-3)


@pytest.mark.parametrize(("length", "factor", "expected"), [(8192, 2.0, 25.627), (16_384, 4.0, 35.451)])
def test_yarn_as_transformers_computes_it(length, factor, expected):
    """The paper prints 25.55 and 35.44 x 1e-3."""
    found = measure(yarn_inv_freq(128, 10_000.0, factor, 4096), length)
    assert float(found.mean_reverse[0]) * 1e3 == pytest.approx(expected, abs=0.03)


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
    spec = uniform_spec(1, 64, inv_freq(64, 10_000.0), "half", base=10_000.0, train_len=128)
    many, few = (measure_angle_divergence(spec, 8192, bins=bins).reverse[0] for bins in (360, 16))
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
    assert abs(found - slow).sum() <= 4  # angles within float32's rounding of the edge of a bin


def test_counts_go_on_past_one_block_of_positions():
    length = 2**16 + 5000
    angle = np.arange(length) * inv_freq(4, 10_000.0)[1] % (2 * np.pi)
    expected = np.histogram(angle, bins=360, range=(0, 2 * np.pi))[0]
    found = count_angles(inv_freq(4, 10_000.0), length)[1]
    assert found.sum() == length
    assert abs(found - expected).max() <= 0.02 * expected.max()
