"""The retrieval bound B_m against computed values and a plain scan, never against rounded tables."""

import numpy as np
import pytest

from ropediag import retrieval_bound
from ropediag.rope import inv_freq


@pytest.mark.parametrize(
    ("rotary_dim", "bounds"),
    [
        (128, {500: 171, 652: 247, 1304: 349, 2608: 479, 10_000: 1707, 40_000: 2969, 100_000: 7757}),
        (128, {200_000: 12122, 500_000: 18438, 1_000_000: 27115, 5_000_000: 82999, 10_000_000: 144660}),
        (64, {10_000: 725, 500_000: 9937, 1_000_000: 6235}),  # not monotone in the base
        (256, {10_000: 2653, 500_000: 37791, 1_000_000: 71627}),
    ],
)
def test_retrieval_bound_is_the_first_negative_lag(rotary_dim, bounds):
    for base, expected in bounds.items():
        frequencies = inv_freq(rotary_dim, float(base))
        assert retrieval_bound.bm_bound(frequencies) == expected
        assert retrieval_bound.bm_bound(frequencies, expected) is None
        before, at = retrieval_bound.bm_curve(frequencies, np.arange(expected - 1, expected + 1))
        assert before >= 0 > at


def test_bm_curve_matches_published_values():
    curve = retrieval_bound.bm_curve(np.append(inv_freq(128, 1e4), np.nan), np.array([0, 1, 1706, 1707]))
    np.testing.assert_allclose(curve, [64, 62.0936838, 0.0686034, -0.4989315], atol=1e-6)


def test_blockwise_retrieval_bound_equals_the_plain_scan():
    rng = np.random.default_rng(7)
    for _ in range(20):
        frequencies = np.sort(10 ** rng.uniform(-5, 0, size=rng.integers(1, 40)))[::-1].copy()
        curve = retrieval_bound.bm_curve(frequencies, np.arange(5000))
        negative = np.flatnonzero(curve < 0)
        assert retrieval_bound.bm_bound(frequencies, 5000) == (int(negative[0]) if len(negative) else None)


def test_ruling_stretches_out_changes_no_answer():
    """Across many stretches, with pairs slow enough that most are ruled out, and a bound far out or none."""
    rng = np.random.default_rng(3)
    ruled_out = 0
    for base in 10 ** rng.uniform(4, 12, size=12):
        frequencies = inv_freq(2 * int(rng.integers(16, 65)), base)
        open_stretches = retrieval_bound._may_fall_below(frequencies, 50_000)
        ruled_out += int((~open_stretches).sum())
        lags = np.arange(50_000)
        curve = np.cos(np.multiply.outer(lags, frequencies)).sum(-1)
        negative = np.flatnonzero(curve < 0)
        assert retrieval_bound.bm_bound(frequencies, 50_000) == (int(negative[0]) if len(negative) else None)
        holds_one = np.logical_or.reduceat(curve < 0, np.arange(0, 50_000, retrieval_bound.STRETCH))
        assert not (holds_one & ~open_stretches).any()
    assert ruled_out > 50


def test_the_range_of_bases_equals_trying_every_one():
    for rotary_dim, length in ((64, 700), (128, 1024), (128, 4096), (32, 300)):
        bases = np.geomspace(500, 1e6, 60)
        passes = [retrieval_bound.bm_bound(inv_freq(rotary_dim, base), length + 1) is None for base in bases]
        smallest = next((base for base, passing in zip(bases, passes, strict=True) if passing), None)
        tail = [base for index, base in enumerate(bases) if all(passes[index:])]
        expected = (smallest, tail[0] if tail else None)
        assert retrieval_bound.bm_base_range(rotary_dim, length, bases) == expected


def test_bases_that_keep_bm_positive_are_not_an_interval():
    bases = np.arange(4280.0, 6040.0, 2)
    assert retrieval_bound.bm_base_range(128, 1024, bases) == (4294.0, 6020.0)
    assert retrieval_bound.bm_base_range(128, 1024, np.array([1000.0])) == (None, None)
    assert retrieval_bound.bm_base_range(128, 4096, np.array([26_955.0, 40_000.0])) == (26_955.0, None)
    assert retrieval_bound.bm_base_range(128, 64, np.array([1e4, 1e5])) == (1e4, 1e4)
