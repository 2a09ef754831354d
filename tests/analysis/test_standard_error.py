"""The standard error of a mean, with sequences missing."""

import numpy as np

from ropediag.analysis.standard_error import standard_error


def test_it_is_that_of_the_sequences_that_are_there():
    random = np.random.default_rng(0)
    values = random.normal(size=(6, 4, 5))
    values[random.random(values.shape) < 0.4] = np.nan
    values[:, 0, 0], values[1:, 0, 1] = np.nan, np.nan  # none, and at most one
    found = standard_error(values)
    for place in np.ndindex(4, 5):
        own = [float(one) for one in values[:, *place] if one == one]
        expected = np.nan
        if len(own) > 1:
            mean = sum(own) / len(own)
            expected = (sum((one - mean) ** 2 for one in own) / (len(own) - 1) / len(own)) ** 0.5
        np.testing.assert_allclose(found[place], expected)


def test_infinity_is_not_taken_for_a_sequence_that_is_missing():
    assert np.isnan(standard_error(np.array([[1.0], [2.0], [np.inf]]))).all()
