"""Rank correlations of loss and partial logits, against scipy on one row at a time."""

import numpy as np
import pytest
from scipy import stats

from ropediag import open_capture
from ropediag.analysis.loss_link import correlate, measure_loss_link
from ropediag.errors import CaptureError
from ropediag.store import write_whole
from tests.analysis.captures import EXAMPLE


def test_correlations_are_spearmans():
    random = np.random.default_rng(0)
    move, harm = random.integers(0, 9, (3, 2, 4, 12)).astype(float), random.normal(size=(3, 12))
    move[1, 1, 2] = 5.0  # nothing varies
    move[2, 0, 0, 3] = np.nan
    found = correlate(move, harm)
    for place in np.ndindex(3, 2, 4):
        if place in ((1, 1, 2), (2, 0, 0)):
            assert np.isnan(found[place])
        else:
            assert found[place] == pytest.approx(stats.spearmanr(move[place], harm[place[0]]).statistic)


def test_the_interval_is_students_over_sequences_of_fishers_z():
    with open_capture(EXAMPLE) as capture:
        found = measure_loss_link(capture).load()
        edges = capture.values("position_bin")
        excess = (capture.values("loss/nll") - capture.values("loss/nll_windowed")).astype(float)
        logits = capture.values("partial/past_mean")[:, 1, 1].astype(float)
    bins = edges < 4 * 128
    rows = []
    for sequence in range(8):
        harm = [np.nanmean(excess[sequence, edge : edge + 16]) for edge in edges[bins]]
        harm[0] *= 15 / 16  # the first token, which nothing predicts, counts as no harm
        move = np.abs(logits[sequence] - logits[sequence, edges < 128].mean())[bins]
        rows.append(stats.spearmanr(move, harm).statistic)
    z = np.arctanh(rows)
    low, high = np.tanh(stats.t.interval(0.95, 7, np.mean(z), stats.sem(z)))
    at = found.sel(side="past", layer=1, query_head=1)
    assert [
        float(at[name]) for name in ("correlation", "correlation_low", "correlation_high")
    ] == pytest.approx([np.tanh(np.mean(z)), low, high], abs=1e-5)
    assert float(at.correlation) > 0.4


def test_without_a_windowed_loss_it_is_an_error(tmp_path):
    with open_capture(EXAMPLE) as capture:
        names = [name for name in capture.variables if name != "loss/nll_windowed"]
        coordinates = {axis: capture.values(axis) for axis in capture.sizes}
        kept = {key: value for key, value in capture.attrs.items() if key not in ("status", "schema_version")}
        path = write_whole(
            tmp_path / "a.h5", coordinates, {name: capture.values(name) for name in names}, kept
        )
    with open_capture(path) as capture, pytest.raises(CaptureError, match="no windowed loss"):
        measure_loss_link(capture)
