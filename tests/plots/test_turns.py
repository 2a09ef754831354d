"""The figure of drift by turns shows every pair of the untuned models where it belongs."""

import numpy as np
import xarray as xr

from ropediag.plots.turns import plot_drift_by_turns


def make_table():
    period = np.array([[6.0, 64.0, 256.0], [6.0, 100.0, np.nan], [6.0, 500.0, 2000.0]])
    drift = np.array([[0.0, 0.1, 1.5], [0.0, 0.2, np.nan], [0.1, 0.3, 0.4]])
    return xr.Dataset(
        {
            "tuned": ("model", [False, False, True]),
            "pretrain_base": ("model", [100.0, 1e4, 100.0]),
            "train_len": ("model", [128.0, 128.0, 128.0]),
            "period": (("model", "pair"), period),
            "drift": (("model", "pair"), drift),
        },
        {"model": ["a", "b", "a-tuned"], "pair": [0, 1, 2]},
    )


def test_every_pair_of_an_untuned_model_stands_at_its_turns():
    small, large, curve = plot_drift_by_turns(make_table()).data
    np.testing.assert_allclose(small.x, [2.0, 0.5])  # that of 6 tokens made more than are shown
    np.testing.assert_allclose(small.y, [0.1, 1.5])
    np.testing.assert_allclose(large.x, [1.28])
    assert list(large.text) == ["b"]
    assert "base 10,000" in large.name
    assert (np.diff(curve.y) <= 1e-6).all()
    assert curve.yaxis == "y2"
