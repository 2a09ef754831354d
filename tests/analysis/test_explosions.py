"""Ranks of a drift made by hand."""

import numpy as np
import pytest
import xarray as xr

from ropediag import open_capture
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.explosions import measure_explosions, rank_explosions
from tests.analysis.captures import EXAMPLE


def test_ranks_are_those_of_a_sorted_list():
    with open_capture(EXAMPLE) as capture:
        drift, ranked = measure_drift(capture).load(), measure_explosions(capture).load()
        inv_freq = capture.values("rope/inv_freq")
    listed = []
    for layer in range(4):
        for head in range(2):
            for pair in range(32):
                at = drift.isel(layer=layer, query_head=head, pair=pair)
                if bool(at.drifts):
                    listed.append((float(at.drift), layer, head, pair, float(at.drift * at["scale"])))
    listed.sort(key=lambda row: -row[0])
    assert ranked.sizes["rank"] == len(listed)
    total = np.nansum(drift.drift.values)
    for rank, (value, layer, head, pair, move) in enumerate(listed):
        row = ranked.isel(rank=rank)
        assert [int(row[name]) for name in ("layer", "query_head", "pair")] == [layer, head, pair]
        assert float(row.share) == pytest.approx(value / total)
        assert float(row.move) == pytest.approx(move)
        assert float(row.period) == pytest.approx(2 * np.pi / inv_freq[layer, pair])


def test_without_drift_there_is_no_rank():
    with open_capture(EXAMPLE) as capture:
        drift = measure_drift(capture)
        drift["drifts"] = xr.zeros_like(drift.drifts)
        assert rank_explosions(drift, capture["rope/inv_freq"].load()).sizes["rank"] == 0
