"""Centroid separation against means of vectors that are known, turned lag by lag."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.centroid_separation import measure_centroid_separation
from ropediag.analysis.heads import key_head_index
from ropediag.rope import average_turns
from tests.analysis.captures import EXAMPLE


def test_turns_of_a_bin_equal_the_mean_over_its_lags():
    frequencies = np.array([[1.0, 0.05, 0.0], [0.3, np.nan, np.nan]])
    edges, length = np.array([0, 1, 4, 20]), 50
    found = average_turns(frequencies, edges, length)
    for layer, pair in np.ndindex(2, 3):
        for place, (start, stop) in enumerate(zip(edges, [*edges[1:], length], strict=True)):
            slow = np.mean([np.exp(1j * lag * frequencies[layer, pair]) for lag in range(start, stop)])
            expected = 0 if np.isnan(frequencies[layer, pair]) else slow
            assert found[layer, pair, place] == pytest.approx(expected, abs=1e-12)


def test_cosine_and_separation_equal_the_vectors_written_out():
    layer, head, place = 2, 1, 20
    with open_capture(EXAMPLE) as capture:
        found = measure_centroid_separation(capture).load()
        owner = key_head_index(capture)[head]
        sides = {
            side: [capture.values(f"vectors/{side}_{name}")[:, layer, of].astype(float)
                   for name in ("norm", "offset", "phase")]
            for side, of in (("query", head), ("key", owner))
        }  # fmt: skip
        frequencies = capture.spec().inv_freq[layer]
        edges = capture.values("coarse_lag")
    cosines, separations = [], []
    for sequence in range(8):
        centres, spread = {}, 0.0
        for side, (norm, offset, phase) in sides.items():
            size = np.sqrt((norm[sequence] ** 2).mean(-1))  # 16 bins of equal width
            centres[side] = size * offset[sequence] * np.exp(1j * phase[sequence])
            spread += np.sum(size**2) - np.sum(abs(centres[side]) ** 2)
        query, key = centres["query"], centres["key"]
        inner = np.mean([np.sum(query * key.conj() * np.exp(1j * lag * frequencies)).real
                         for lag in range(edges[place], edges[place + 1])])  # fmt: skip
        cosines.append(inner / np.linalg.norm(query) / np.linalg.norm(key))
        square = np.linalg.norm(query) ** 2 + np.linalg.norm(key) ** 2 - 2 * inner
        separations.append(np.sqrt(square / spread))
    at = {"layer": layer, "query_head": head, "coarse_lag": edges[place]}
    assert float(found.cosine.sel(at)) == pytest.approx(np.mean(cosines), rel=1e-6)
    assert float(found.separation.sel(at)) == pytest.approx(np.mean(separations), rel=1e-6)
    error = np.std(separations, ddof=1) / np.sqrt(8)
    assert float(found.separation_se.sel(at)) == pytest.approx(error, rel=1e-6)
    assert abs(found.cosine).max() <= 1
