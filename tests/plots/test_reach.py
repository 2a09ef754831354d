"""The figures of the open questions draw what their tables hold."""

import numpy as np
import pytest
import xarray as xr

from ropediag import open_capture
from ropediag.analysis.excess_curves import measure_excess_curves
from ropediag.errors import ConfigError
from ropediag.plots.excess import plot_excess
from ropediag.plots.reach import plot_reach
from tests.analysis.captures import EXAMPLE
from tests.store.synthetic import write_capture


def make_table():
    rows = {
        "past_critical_base": ([False, True, True, True], "", "past"),
        "base": ([1e4, 1e5, 1e6, 1e5], "", "base the model was tuned with"),
        "predicted": ([128.0, 300.0, 700.0, 500.0], "token", "limit of the law"),
        "measured": ([140.0, 310.0, 900.0, 600.0], "token", "measured limit"),
        "measured_low": ([130.0, 300.0, 880.0, 590.0], "token", "low"),
        "measured_high": ([150.0, 330.0, 910.0, 640.0], "token", "high"),
        "tuned": ([False, True, True, True], "", "tuned"),
        "parent": (["a", "a", "a", "b"], "", "parent"),
    }
    return xr.Dataset(
        {
            name: ("model", values, {"units": units, "long_name": text})
            for name, (values, units, text) in rows.items()
        }
    )


def test_reach_has_points_and_a_line_for_every_parent():
    figure = plot_reach(make_table())
    assert [trace.name for trace in figure.data] == ["a, the law", "a", "b, the law", "b"]
    law, points = figure.data[:2]
    assert law.y.tolist() == [300, 700]
    assert points.x.tolist() == [1e5, 1e6]
    assert points.error_y.array.tolist() == [20, 10]
    assert points.error_y.arrayminus.tolist() == [10, 20]
    assert law.line.color == points.marker.color != figure.data[3].marker.color


def test_excess_curves_are_means_over_sequences_and_stretches():
    with open_capture(EXAMPLE) as capture:
        curves = measure_excess_curves({"one": capture, "same": capture})
        excess = (capture.values("loss/nll") - capture.values("loss/nll_windowed")).astype(float)
    at = int(curves.position[-1])
    half = round(0.09 * at)
    assert float(curves.excess.sel(model="one", position=at)) == pytest.approx(
        excess[:, at - half : at + half].mean()
    )
    figure = plot_excess(curves)
    assert [trace.name for trace in figure.data] == ["one", "same"]
    np.testing.assert_array_equal(figure.data[1].y, curves.excess.sel(model="same"))
    assert len(figure.layout.shapes) == 2


def test_curves_of_different_training_lengths_share_no_axis(tmp_path):
    with (
        open_capture(EXAMPLE) as one,
        open_capture(write_capture(tmp_path / "a.h5")) as other,
        pytest.raises(ConfigError, match=r"one training length: got \[16, 128\]"),
    ):
        measure_excess_curves({"one": one, "other": other})
