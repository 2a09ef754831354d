"""Attention spread against loops over the sampled queries, with and without a window."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.attention_spread import measure_attention_spread
from tests.analysis.captures import EXAMPLE
from tests.analysis.ragged import write_ragged


def test_values_equal_the_mean_over_the_queries_of_the_bin():
    with open_capture(EXAMPLE) as capture:
        found = measure_attention_spread(capture).load()
        positions = capture.values("rows/query_position")
        rows = {name: capture.values(f"rows/{name}") for name in ("entropy", "max_weight", "sink_mass")}
    start, stop, layer, head = 1024, 1536, 2, 1
    kept = [(s, r) for s, r in np.ndindex(positions.shape) if start <= positions[s, r] < stop]
    at = {"layer": layer, "query_head": head, "query_position": start}
    assert int(found.queries.sel(query_position=start)) == len(kept) > 5
    for name, values in rows.items():
        members = [float(values[s, layer, head, r]) for s, r in kept]
        assert float(found[name].sel(at)) == pytest.approx(np.mean(members), rel=1e-6)
    relative = [values / np.log(positions[s, r] + 1) for (s, r) in kept
                for values in [float(rows["entropy"][s, layer, head, r])]]  # fmt: skip
    assert float(found.relative_entropy.sel(at)) == pytest.approx(np.mean(relative), rel=1e-6)
    assert found.relative_entropy.max() <= 1 + 1e-6
    assert found.relative_entropy.min() >= 0


def test_a_window_bounds_the_visible_keys(tmp_path):
    """The entropy is taken over the logarithm of the keys that the layer lets a query see."""
    path = write_ragged(tmp_path / "run.h5")
    with open_capture(path) as capture:
        found = measure_attention_spread(capture).load()
        positions, entropy = capture.values("rows/query_position"), capture.values("rows/entropy")
        count = capture.values("scores/count")[0]
    reach = [*range(8), 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 26, 28, 30, 32, 36, 40]
    reach = reach[np.flatnonzero(count)[-1] + 1]
    assert reach < 40
    start = int(found.query_position[-1])
    kept = [(s, r) for s, r in np.ndindex(positions.shape) if positions[s, r] >= start]
    expected = [entropy[s, 0, 3, r] / np.log(min(reach, positions[s, r] + 1)) for s, r in kept]
    measured = found.relative_entropy.isel(layer=0, query_head=3, query_position=-1)
    np.testing.assert_allclose(measured, np.mean(expected) if kept else np.nan, rtol=1e-6)
