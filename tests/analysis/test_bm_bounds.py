"""B_m bounds against recomputed values of the paper's bases, and against the sum written out."""

import math

import numpy as np
import pytest

from ropediag.analysis.bm_bounds import measure_bm_bounds, sum_cosines
from ropediag.rope import inv_freq, uniform_spec


def measure(rotary_dim, base, length):
    return measure_bm_bounds(uniform_spec(2, rotary_dim, inv_freq(rotary_dim, base), "half"), length)


@pytest.mark.parametrize(
    ("rotary_dim", "base", "first"),
    [(128, 500, 171), (128, 1304, 349), (128, 10_000, 1707), (128, 500_000, 18_438), (128, 1_000_000, 27_115),
     (64, 10_000, 725), (64, 1_000_000, 6235), (256, 500_000, 37_791)],
)  # fmt: skip
def test_the_first_negative_lag_is_found_and_is_in_the_first_negative_bin(rotary_dim, base, first):
    found = measure(rotary_dim, float(base), 65_536)
    assert found.bound.values.tolist() == [first, first]
    smallest = found.smallest.sel(layer=1)
    edges = [*found.lag.values, 65_536]
    place = int(np.argmax(smallest.values < 0))
    assert edges[place] <= first < edges[place + 1]


def test_values_of_llama2():
    whole = sum_cosines(inv_freq(128, 10_000.0), 2000)
    np.testing.assert_allclose(whole[[0, 1, 1706, 1707]], [64, 62.0936838, 0.0686034, -0.4989315], atol=5e-8)


@pytest.mark.parametrize("length", [1, 7, 512, 1500])
def test_every_lag_equals_the_sum_written_out(length):
    frequencies = np.array([1.0, 0.3, 0.01, np.nan])
    slow = [sum(math.cos(lag * f) for f in frequencies[:3]) for lag in range(length)]
    np.testing.assert_allclose(sum_cosines(frequencies, length), slow, atol=1e-12)
    spec = uniform_spec(1, 6, frequencies[:3], "half")
    found = measure_bm_bounds(spec, length)
    edges = found.lag.values
    np.testing.assert_allclose(found.curve[0], np.array(slow)[edges], atol=1e-12)
    bins = np.split(np.array(slow), edges[1:])
    np.testing.assert_allclose(found.smallest[0], [part.min() for part in bins], atol=1e-12)
    assert float(found.negative_share[0]) == pytest.approx(np.mean(np.array(slow) < 0))


def test_a_pair_that_never_turns_has_no_bound():
    found = measure_bm_bounds(uniform_spec(1, 2, np.zeros(1), "half"), 100)
    assert math.isnan(found.bound[0])
    assert float(found.negative_share[0]) == 0
