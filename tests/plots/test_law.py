"""The figure of the law: its line, one trace a tuning length, and intervals."""

import numpy as np
import pytest
import xarray as xr

from ropediag.plots.law import plot_law


def test_it_draws_the_law_and_the_models_past_their_critical_base():
    token = {"units": "token"}
    table = xr.Dataset(
        {
            "past_critical_base": ("model", [True, True, False, True]),
            "base": ("model", [2e4, 4e4, 1e3, 1e6]),
            "tune_len": ("model", [128, 128, 128, 512]),
            "predicted": ("model", [189.0, 240.0, 128.0, 726.0], token),
            "measured": ("model", [190.0, 250.0, np.nan, 900.0], token),
            "measured_low": ("model", [180.0, 240.0, np.nan, 880.0], token),
            "measured_high": ("model", [200.0, 265.0, np.nan, 910.0], token),
        }
    )
    law, short, long = plot_law(table).data
    assert tuple(law.x) == tuple(law.y) == (189.0, 726.0)
    assert (short.name, long.name) == ("tuned at 128 tokens", "tuned at 512 tokens")
    assert tuple(short.x) == (189.0, 240.0)
    assert tuple(short.error_y.array) == pytest.approx((10.0, 15.0))
    assert tuple(short.error_y.arrayminus) == pytest.approx((10.0, 10.0))
    layout = plot_law(table).layout
    assert layout.xaxis.type == layout.yaxis.type == "log"
    assert layout.xaxis.title.text == "predicted limit (tokens)"
