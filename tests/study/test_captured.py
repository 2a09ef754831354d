"""What a study's row says of a capture is what the capture says, head by head."""

import numpy as np

from ropediag import open_capture
from ropediag.analysis.drift import measure_drift
from ropediag.study.captured import describe_capture
from tests.analysis.captures import EXAMPLE


def test_heads_are_counted_whose_pairs_left_their_range_by_the_limit():
    limit = 200.0
    with open_capture(EXAMPLE) as capture:
        drift = measure_drift(capture)
        made_a_turn = capture.training.trained()[0]
    left, tested = np.zeros(drift.sizes["pair"]), np.zeros(drift.sizes["pair"])
    for layer in drift.layer.values:
        for head in drift.query_head.values:
            for pair in drift.pair.values:
                one = drift.sel(layer=layer, query_head=head, pair=pair)
                left[pair] += bool(one.drifts) and float(one.onset) <= limit
                tested[pair] += np.isfinite(one.drift)
    np.testing.assert_array_equal(tested, np.where(made_a_turn, 0, drift.drift[..., 0].size))
    share = [np.nan if not all_ else some / all_ for some, all_ in zip(left, tested, strict=True)]
    found = describe_capture(EXAMPLE, limit)
    np.testing.assert_allclose(found.drifting, share)
    assert 0 < found.drifting.max() < 1
    assert found.drifting.sum() < describe_capture(EXAMPLE, 8192.0).drifting.sum()


def test_without_a_limit_nothing_is_said_of_it():
    found = describe_capture(EXAMPLE)
    assert np.isnan(found.drifting).all()
    with open_capture(EXAMPLE) as capture:
        short_of_a_turn = ~capture.training.trained()[0]
    np.testing.assert_array_equal(np.isfinite(found.drift), short_of_a_turn)
