"""Lags inside and beyond the trained window, and the lags a layer sees."""

import numpy as np

from ropediag import open_capture
from ropediag.analysis.window import split_lags, visible_lags
from ropediag.schema import lag_edges
from tests.analysis.ragged import COMING, write_ragged


def test_a_bin_cut_by_the_training_length_is_neither_inside_nor_beyond():
    edges = np.array([0, 1, 2, 4, 6, 8])
    inside, beyond = split_lags(edges, 12, 5)
    assert inside.tolist() == [True, True, True, False, False, False]
    assert beyond.tolist() == [False, False, False, False, True, True]
    inside, beyond = split_lags(edges, 12, 12)
    assert inside.all()
    assert not beyond.any()


def test_a_layer_sees_up_to_its_last_bin_with_query_key_pairs(tmp_path):
    with open_capture(write_ragged(tmp_path / "run.h5")) as capture:
        seen = visible_lags(capture)
        count = capture["scores/count"].values
    for layer in range(3):
        last = max(place for place in range(count.shape[1]) if count[layer, place] > 0)
        assert int(seen[layer]) == [*lag_edges(40), 40][last + 1]
    assert int(seen[COMING]) == 0
