"""The figures of an attribution show its numbers."""

import numpy as np
import pytest
import xarray as xr

from ropediag.analysis.attribution import tabulate_attribution
from ropediag.plots.attribution import NAMED, plot_cost_by_head, plot_cost_waterfall


def make_table(sequences=3, layers=2, heads=3, pairs=12, seed=0):
    """Random parts that add up to a random difference."""
    random = np.random.default_rng(seed)
    parts = random.normal(size=(sequences, 1, layers, heads, pairs))
    parts[:, :, :, :, 2:] *= 1e-4
    parts[:, :, 0, 0] = np.nan  # a head without gates
    by_lag = np.stack([np.zeros_like(parts[:, 0]), parts[:, 0]], -1)
    limited = random.normal(size=(sequences, 20)) + 2
    difference = np.nansum(parts, (1, 2, 3, 4))
    raw = xr.Dataset(
        {
            "nats": (("sequence", "stretch", "layer", "query_head", "pair"), parts),
            "positions": ("stretch", [10]),
            "by_lag": (("sequence", "layer", "query_head", "pair", "lag"), by_lag),
            "first_keys": (("sequence", "layer", "query_head", "pair"), parts[:, 0] / 2),
            "nll_limited": (("sequence", "position"), limited),
            "nll": (("sequence", "position"), limited + difference[:, None]),
            "nll_windowed": (("sequence", "position"), limited - 0.1),
            "lag_limit": (("layer", "pair"), np.full((layers, pairs), 9.0)),
        },
        {"stretch": [10], "layer": [1, 5], "query_head": [0, 1, 2], "pair": np.arange(4, 16), "lag": [0, 9]},
    )
    return tabulate_attribution(raw)


def test_the_bars_lead_from_the_windows_to_the_loss_as_it_is():
    table = make_table()
    (bars,) = plot_cost_waterfall(table).data
    steps = [value for value, kind in zip(bars.y, bars.measure, strict=True) if kind == "relative"]
    assert bars.y[0] == pytest.approx(float(table.nll_windowed))
    assert bars.y[0] + sum(steps) == pytest.approx(bars.y[-1])
    assert bars.y[-1] == pytest.approx(float(table.nll))
    named = [name for name in bars.x if name.startswith("pair ")]
    assert named == ["pair 4", "pair 5"]
    assert "10 other pairs" in bars.x


def test_many_heavy_pairs_share_a_bar():
    table = make_table()
    table["by_pair"] = table.by_pair + 1
    names = plot_cost_waterfall(table).data[0].x
    assert sum(name.startswith("pair ") for name in names) == NAMED
    assert f"{12 - NAMED} other pairs" in names


def test_a_cell_holds_the_cost_of_its_head_and_names_the_worst_pair():
    table = make_table()
    figure = plot_cost_by_head(table)
    (cells,) = figure.data
    np.testing.assert_allclose(cells.z, table.by_head, rtol=1e-6)
    assert np.isnan(cells.z[0, 0])
    assert cells.text[0][0] == ""
    worst = abs(table.cost).fillna(-1).argmax("pair")
    assert cells.text[1][2] == str(int(table.pair[int(worst[1, 2])]))
    assert figure.layout.meta["rows"] == {"layer": [1, 5]}
    assert figure.layout.meta["columns"] == {"query_head": [0, 1, 2]}


def test_one_sequence_has_no_interval():
    (bars,) = plot_cost_waterfall(make_table(sequences=1)).data
    assert "one sequence, no interval" in bars.customdata
