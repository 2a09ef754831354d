"""Ranking: true differences stand and come first, and those of mere noise do not stand."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from ropediag.analysis.ranking import rank_differences


def measured(values, errors=None, replicates=8):
    """What a diagnostic says of one capture: a variable x over pairs, with its errors."""

    def label(numbers):
        return ("pair", numbers, {"units": "1", "long_name": "it"})

    arrays = {"x": label(values)} | ({} if errors is None else {"x_se": label(errors)})
    return xr.Dataset(
        arrays, {"pair": np.arange(3, 3 + len(values))}, {"high": "", "shows": "x"}
    ).assign_attrs(replicates=replicates)


def sample(generator, mean, replicates=8):
    """Mean and standard error of normal numbers about ``mean``."""
    drawn = mean + generator.normal(size=(replicates, len(mean)))
    return measured(drawn.mean(0), drawn.std(0, ddof=1) / np.sqrt(replicates), replicates)


def test_of_thousands_that_differ_by_noise_alone_none_stands():
    """At twice their error some 5 % would, and of normal rather than Student's t a few still."""
    generator = np.random.default_rng(0)
    for _ in range(10):
        first, second = (sample(generator, np.zeros(4000)) for _ in range(2))
        found = rank_differences(first, second, 3)
        assert (found.tested, found.standing, found.differences) == (4000, 0, ())


def test_planted_differences_stand_and_hardly_any_others():
    generator = np.random.default_rng(1)
    shift = np.where(np.arange(4000) < 200, 20.0, 0.0)
    found = rank_differences(sample(generator, np.zeros(4000)), sample(generator, shift), 4000)
    places = np.array([each.at["pair"] for each in found.differences]) - 3
    assert found.standing == len(places)
    assert (places < 200).sum() >= 195
    assert (places >= 200).mean() < 0.03


def test_q_values_are_those_of_welchs_test_adjusted_for_their_number():
    generator = np.random.default_rng(2)
    draws = [generator.normal(size=(size, 50)) * scale for size, scale in ((8, 1.0), (12, 3.0))]
    draws[1] += 30
    first, second = (
        measured(each.mean(0), each.std(0, ddof=1) / np.sqrt(len(each)), len(each)) for each in draws
    )
    p_values = stats.ttest_ind(*draws, equal_var=False).pvalue
    expected = stats.false_discovery_control(p_values)
    found = rank_differences(first, second, 50)
    assert found.standing == 50
    for each in found.differences:
        assert each.q_value == pytest.approx(expected[each.at["pair"] - 3])


def test_the_largest_that_stand_come_first_and_what_has_no_error_is_not_tested():
    first, second = measured([1.0, 2, 3], [0.03, 3, np.nan]), measured([2.0, 7, 9], [0.04, 4, 1.0])
    found = rank_differences(first, second, 5)
    (only,) = found.differences
    assert (found.tested, found.standing, only.at) == (2, 1, {"pair": 3})
    assert (only.first, only.second, only.difference, only.error) == (1, 2, 1, pytest.approx(0.05))


@pytest.mark.parametrize("errors", [None, [np.nan] * 3])
def test_without_errors_the_largest_are_listed_untested(errors):
    found = rank_differences(measured([1.0, 2, 3], errors), measured([2.0, 7, 9], errors), 2)
    assert (found.tested, found.standing) == (0, 3)
    assert [(each.difference, each.error, each.q_value) for each in found.differences] == [
        (6, None, None),
        (5, None, None),
    ]


def test_an_error_of_zero_leaves_no_doubt():
    found = rank_differences(measured([1.0, 2, 3], [0.0] * 3), measured([1.0, 2, 4], [0.0] * 3), 3)
    assert (found.tested, [each.at["pair"] for each in found.differences]) == (3, [5])
