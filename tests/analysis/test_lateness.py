"""A lateness that was planted in curves of the loss is told apart from a share of a turn."""

import numpy as np
import pytest
import xarray as xr

from ropediag.analysis.lateness import compare_thresholds, read_limit
from ropediag.analysis.trained_turn import predict_limits
from tests.analysis.test_laws import make_study
from tests.analysis.test_trained_turn import make_models

SLOPE = 2.0  # nats by which the excess grows while the position grows by a factor of e


def curve_of(excess, position=None):
    position = np.arange(1, len(excess) + 1) if position is None else position
    return xr.DataArray(excess, {"position": position}, "position")


def slow_limit(curve, threshold):
    """The twin: every position asked in turn, without interpolation."""
    position, excess = curve.position.values.tolist(), curve.values.tolist()
    for begin, value in zip(position, excess, strict=True):
        ahead = [each for at, each in zip(position, excess, strict=True) if begin <= at <= 2 * begin]
        if value > threshold and all(each > threshold for each in ahead):
            return begin
    return np.nan


@pytest.mark.parametrize("seed", range(20))
def test_a_limit_lies_between_the_position_of_the_twin_and_the_one_before(seed):
    curve = curve_of(np.random.default_rng(seed).normal(size=300).cumsum() / 10)
    for threshold in (0.1, 0.3, 1.0):
        found, slow = read_limit(curve, threshold), slow_limit(curve, threshold)
        assert np.isnan(found) == np.isnan(slow)
        assert np.isnan(slow) or slow == 1 == found or slow - 1 <= found <= slow


def test_a_limit_between_two_positions_is_interpolated_in_their_logarithm():
    position = np.array([10, 100, 1000])
    curve = curve_of(np.log(position / 20), position)
    assert read_limit(curve, 0.5) == pytest.approx(20 * np.exp(0.5))


def test_a_rise_that_does_not_last_and_a_gap_at_the_end_are_no_limit():
    curve = curve_of(np.r_[np.zeros(50), 1.0, np.zeros(50), np.full(20, np.nan)])
    assert np.isnan(read_limit(curve, 0.3))


def plant(models, kappa):
    """A study whose losses rise from the limits of the law on, those of parents from the training length."""
    table = make_study(models).assign_attrs(kind="study")
    position = np.unique(np.geomspace(1, 20_000, 2000).astype(int))
    begins = dict(zip([one.name for one in models], predict_limits(models, kappa), strict=True))
    begins |= {one.parent: float(one.train_len) for one in models}
    curves = [SLOPE * np.log(position / begins[name]) for name in table.model.values]
    return table.assign_coords(position=position).assign(excess=(("model", "position"), curves))


def test_planted_lateness_is_found_and_nothing_is_left_of_the_factor():
    models = make_models(1.0)
    thresholds = [0.1, 0.3, 1.0]
    found = compare_thresholds(plant(models, 1.0), thresholds)
    np.testing.assert_allclose(found.lateness, np.exp(np.array(thresholds) / SLOPE), rtol=2e-3)
    np.testing.assert_allclose(found.ratio, found.lateness, rtol=2e-3)
    np.testing.assert_allclose(found.left, 1, rtol=2e-3)
    periods = [one.base ** (2 * one.onset / one.rotary_dim) for one in models]
    before = [one.pretrain_base ** (2 * one.onset / one.rotary_dim) for one in models]
    limits = [one.train_len * now / then for one, now, then in zip(models, periods, before, strict=True)]
    expected = np.exp(np.mean(np.log(predict_limits(models) / limits)))
    np.testing.assert_allclose(found.stretched, expected, rtol=2e-3)
    assert (np.diff(found.kappa) > 0.05).all()
    assert ((found.kappa_low <= found.kappa * 1.01) & (found.kappa <= found.kappa_high * 1.01)).all()
    assert found["count"].values.tolist() == [len(models)] * 3


def test_a_planted_share_of_a_turn_is_left_over_where_nothing_is_late():
    found = compare_thresholds(plant(make_models(1.3), 1.3), [0.001])
    assert found.lateness.item() == pytest.approx(1, abs=2e-3)
    assert found.kappa.item() == pytest.approx(1.3, rel=5e-3)
    assert found.left.item() == pytest.approx(found.ratio.item(), rel=2e-3)
    assert found.left.item() > 1.3
