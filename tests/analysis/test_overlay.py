"""Overlay: each curve is what its capture measured; shorter ones end in NaN."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.breakdown import measure_breakdown
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.limit import THRESHOLD
from ropediag.analysis.overlay import overlay_breakdowns, overlay_drifts
from ropediag.errors import ConfigError
from ropediag.plots.overlay import plot_overlay
from tests.analysis.captures import EXAMPLE
from tests.store.synthetic import write_capture


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The example, and a capture of random numbers that is shorter, has fewer pairs and no windowed loss."""
    small = write_capture(tmp_path_factory.mktemp("overlay") / "small.h5")
    with open_capture(EXAMPLE) as one, open_capture(small) as other:
        captures = {"long": one, "short": other}
        return (
            {name: measure_breakdown(each) for name, each in captures.items()},
            {name: measure_drift(each).load() for name, each in captures.items()},
        )


@pytest.mark.parametrize(
    ("variable", "axis"),
    [
        ("excess", "position"),
        ("excess_se", "position"),
        ("past_mean", "query_position"),
        ("before_mean", "query_position"),
    ],
)
def test_a_curve_is_what_its_capture_measured(measured, variable, axis):
    breakdowns, _ = measured
    curves = overlay_breakdowns(breakdowns)
    for name, each in breakdowns.items():
        own, size = curves.sel(capture=name), each.sizes[axis]
        np.testing.assert_array_equal(own[axis].values[:size], each[axis].values)
        assert np.isnan(own[axis].values[size:]).all()
        multiple = own[axis.replace("position", "multiple")].values[:size]
        np.testing.assert_allclose(multiple * float(each.train_len), each[axis].values)
        expected = each[variable].values if variable in each else np.full(size, np.nan)
        np.testing.assert_array_equal(own[variable].values[:size], expected)
        assert {"units", "long_name"} <= own[variable].attrs.keys()
    assert curves.attrs["threshold"] == THRESHOLD


def test_limits_stand_beside_their_curves(measured):
    breakdowns, _ = measured
    curves = overlay_breakdowns(breakdowns)
    assert curves.train_len.values.tolist() == [128, 16]
    assert float(curves.measured_limit.sel(capture="long")) == float(breakdowns["long"].measured_limit) > 128
    assert np.isnan(float(curves.measured_limit.sel(capture="short")))


@pytest.mark.parametrize("names", [("short",), ("short", "long"), ("long", "short")])
def test_a_capture_without_any_loss_yet_has_no_excess(measured, names):
    breakdowns = {name: measured[0][name] for name in names}
    breakdowns["short"] = breakdowns["short"].drop_dims("position")
    curves = overlay_breakdowns(breakdowns)
    assert curves.position.attrs["units"] == "tokens"
    assert np.isnan(curves.excess.sel(capture="short")).all()
    assert np.isfinite(curves.past_mean.sel(capture="short")).any()
    assert plot_overlay(curves, "position").data


def test_nothing_cannot_be_laid_over_each_other():
    with pytest.raises(ConfigError, match="at least one capture"):
        overlay_breakdowns({})


def test_drift_by_pair_equals_a_loop_over_all_heads(measured):
    _, drifts = measured
    curves = overlay_drifts(drifts, {"long": 11, "short": None})
    assert curves.sizes == {"capture": 2, "pair": 32}
    for name, found in drifts.items():
        for pair in found.pair.values.tolist():
            values = [
                float(found.drift.sel(layer=layer, query_head=head, pair=pair))
                for layer in found.layer.values
                for head in found.query_head.values
            ]
            own = curves.sel(capture=name, pair=pair)
            if np.isnan(values).all():  # a pair that made a full turn in training
                assert np.isnan(own.largest)
                assert np.isnan(own["mean"])
            else:
                assert float(own.largest) == max(values)
                assert float(own["mean"]) == pytest.approx(sum(values) / len(values))
            assert float(own.drifting) == int(found.drifts.sel(pair=pair).sum())
    assert np.isnan(curves.largest.sel(capture="short").values[3:]).all()
    np.testing.assert_array_equal(curves.critical_pair, [11, np.nan])
