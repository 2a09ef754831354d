"""The figure of laws shows each error with its interval."""

import numpy as np

from ropediag.analysis.laws import compare_laws
from ropediag.plots.laws import plot_laws
from tests.analysis.test_trained_turn import make_models


def test_each_law_has_its_errors_and_their_intervals():
    compared = compare_laws(make_models(1.3, noise=0.1))
    median, high = plot_laws(compared).data
    for drawn, name in ((median, "median"), (high, "high")):
        assert list(drawn.y) == compared.law.values.tolist()
        np.testing.assert_allclose(drawn.x, compared[name])
        np.testing.assert_allclose(drawn.x + drawn.error_x.array, compared[f"{name}_high"])
        np.testing.assert_allclose(drawn.x - drawn.error_x.arrayminus, compared[f"{name}_low"])
