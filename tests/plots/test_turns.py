"""The figure of drift by turns shows every pair of the untuned models where it belongs."""

import numpy as np
import xarray as xr

from ropediag.plots.turns import plot_damage_by_turns, plot_drift_by_turns


def make_table():
    period = np.array([[6.0, 64.0, 256.0], [6.0, 100.0, np.nan], [6.0, 500.0, 2000.0]])
    drift = np.array([[0.0, 0.1, 1.5], [0.0, 0.2, np.nan], [0.1, 0.3, 0.4]])
    return xr.Dataset(
        {
            "tuned": ("model", [False, False, True]),
            "pretrain_base": ("model", [100.0, 1e4, 100.0]),
            "train_len": ("model", [128.0, 128.0, 128.0]),
            "period": (("model", "pair"), period),
            "drift": (("model", "pair"), drift, {"least": 0.25}),
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


def test_the_damage_stands_at_the_turns_of_the_slowest_pair():
    position = np.array([100.0, 300.0, 900.0])
    table = make_table().assign_coords(position=position)
    table["excess"] = (("model", "position"), np.array([[0, 1, 3.0], [0, 2, 2], [0, 0, np.nan]]))
    excess, drift = plot_damage_by_turns(table, 4).data
    np.testing.assert_allclose(excess.x, [0.5, 1.28, 0.064])
    np.testing.assert_allclose(drift.y, [1.5, 0.2, 0.4])
    at = (512 - 300) / 600
    np.testing.assert_allclose(excess.y, [1 + 2 * at, 2, np.nan])
    assert drift.yaxis == "y2"
