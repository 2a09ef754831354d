"""The fitted law: a planted line comes back, and its interval is that of the textbook."""

import numpy as np
import pytest

from ropediag.analysis.law import fit_law
from ropediag.errors import ConfigError


def test_a_planted_power_comes_back():
    predicted = np.array([200.0, 400, 900, 2000, 5000])
    fit = fit_law(predicted, 1.3 * predicted**1.1)
    assert (fit.slope, fit.r_squared, fit.count) == (pytest.approx(1.1), pytest.approx(1.0), 5)
    assert np.exp(fit.intercept) == pytest.approx(1.3)
    assert fit.ratio == pytest.approx(np.exp(np.mean(np.log(1.3 * predicted**0.1))))
    assert (fit.ratio_low, fit.ratio_high) == pytest.approx((1.3 * 200**0.1, 1.3 * 5000**0.1))


def test_slope_and_interval_are_those_of_the_normal_equations():
    generator = np.random.default_rng(0)
    predicted = np.exp(generator.uniform(5, 9, 8))
    measured = predicted * np.exp(generator.normal(0.2, 0.1, 8))
    x, y = np.log(predicted), np.log(measured)
    design = np.stack([np.ones(8), x], 1)
    (intercept, slope), *_ = np.linalg.lstsq(design, y, rcond=None)
    residual = y - design @ [intercept, slope]
    error = np.sqrt(residual @ residual / 6 / np.sum((x - x.mean()) ** 2))
    fit = fit_law(predicted, measured)
    assert fit.slope == pytest.approx(slope)
    assert fit.high - fit.low == pytest.approx(2 * 2.4469118511449692 * error)  # t, 6 degrees of freedom
    assert fit.r_squared == pytest.approx(1 - residual @ residual / np.sum((y - y.mean()) ** 2))


def test_the_interval_covers_the_true_slope_as_often_as_it_says():
    generator = np.random.default_rng(1)
    predicted = np.geomspace(200, 4000, 8)
    fits = [fit_law(predicted, predicted * np.exp(generator.normal(0, 0.1, 8))) for _ in range(400)]
    assert np.mean([fit.low <= 1 <= fit.high for fit in fits]) == pytest.approx(0.95, abs=0.035)


@pytest.mark.parametrize(
    ("predicted", "measured", "word"),
    [
        ([100.0, 100.0, 200.0], [1.0, 2.0, 3.0], "three different"),
        ([100.0, 150.0, 200.0], [1.0, np.nan, 3.0], "measured"),
        ([0.0, 150.0, 200.0], [1.0, 2.0, 3.0], "predicted"),
    ],
)
def test_what_no_line_fits_is_refused(predicted, measured, word):
    with pytest.raises(ConfigError, match=word):
        fit_law(np.array(predicted), np.array(measured))
