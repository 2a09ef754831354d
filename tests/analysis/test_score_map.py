"""The attention map against all logits of the head written out."""

from itertools import product

import h5py
import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis import score_map
from ropediag.analysis.kept_head import list_kept_heads, load_kept_head
from ropediag.analysis.map_grid import lay_grid
from ropediag.analysis.score_map import Stopped, is_quick, map_scores
from ropediag.errors import ConfigError, FormatError
from tests.analysis.kept import merge, write_kept, write_out

LENGTHS = {150: -1, 200: 23, 97: 64, 64: 7}  # length -> window
REGIONS = [
    None,
    (0, 64, 0, 64),
    (30, 64, 0, 9),
    (37, 60, 11, 57),
    (63, 64, 0, 64),
    (0, 64, 20, 21),
    (5, 7, 40, 41),
]
PAIRS = {"total": None, "all": [0, 1, 2], "before": [0], "past": [1, 2], "2": [2]}  # the critical pair is 1


@pytest.fixture(scope="module", params=LENGTHS)
def kept(request, tmp_path_factory):
    """A loaded head, and its logits for each set of pairs, from the file alone."""
    length = request.param
    path = write_kept(tmp_path_factory.mktemp("kept") / "kept.h5", length, LENGTHS[length])
    with open_capture(path) as capture:
        head = load_kept_head(capture, 2, 1)
    with h5py.File(path) as file:
        header = {name: file[name][...] for name in ("rope/inv_freq", "rope/channels", "rope/window")}
        vectors = file["samples/kept_query"][0, 0], file["samples/kept_key"][0, 0]
        logits = {what: write_out(header, *vectors, pairs) for what, pairs in PAIRS.items()}
    return head, logits


@pytest.mark.parametrize("statistic", ["mean", "maximum"])
@pytest.mark.parametrize("what", PAIRS)
def test_every_cell_is_that_of_the_logits_written_out(kept, what, statistic):
    head, logits = kept
    how = {"mean": np.mean, "maximum": np.max}[statistic]
    for region, cells in product(REGIONS, (1, 3, 8, 64, 512)):
        found = map_scores(head, region, cells, what=what, statistic=statistic)
        rows, columns = (
            slice(int(found["query"][0]), found.query_stop),
            slice(int(found["key"][0]), found.key_stop),
        )
        steps = found["query"].attrs["step"], found["key"].attrs["step"]
        expected = merge(logits[what][rows, columns], *steps, how)
        np.testing.assert_allclose(found.logit, expected, rtol=1e-4, atol=2e-5, err_msg=f"{region} {cells}")


def test_zoomed_in_every_cell_is_one_pair_of_tokens(kept):
    head, logits = kept
    found = map_scores(head, (20, 60, 10, 50), 40)
    assert found["query"].values.tolist() == list(range(20, 60))
    np.testing.assert_allclose(found.logit, logits["total"][20:60, 10:50], rtol=1e-4, atol=2e-5)


def test_large_maxima_come_in_the_cells_in_which_they_are_stored(kept, monkeypatch):
    head, logits = kept
    monkeypatch.setattr(score_map, "DIRECT", 100)
    found = map_scores(head, None, 512, statistic="maximum")
    assert found["query"].attrs["step"] == found["key"].attrs["step"] == head.block
    np.testing.assert_allclose(
        found.logit, merge(logits["total"], head.block, head.block, np.max), rtol=1e-4, atol=1e-5
    )


def test_maxima_that_are_multiplied_out_do_not_depend_on_the_tiles(kept, monkeypatch):
    head, _ = kept
    whole = map_scores(head, None, 50, what="past", statistic="maximum").logit.values
    monkeypatch.setattr(score_map, "TILE", 8)
    np.testing.assert_allclose(
        map_scores(head, None, 50, what="past", statistic="maximum").logit, whole, rtol=1e-6
    )


@pytest.mark.parametrize("window", [1, 5, 16, 40, 100])
@pytest.mark.parametrize("region", [None, (3, 50, 20, 45), (70, 100, 0, 9)])
def test_visible_pairs_are_counted_as_written_out(window, region):
    grid = lay_grid(100, window, region, cells=7)
    lag = np.arange(100)[:, None] - np.arange(100)
    visible = (lag >= 0) & (lag < window)
    sides = [
        list(zip(f, e, strict=True)) for f, e in ((grid.query, grid.query_ends), (grid.key, grid.key_ends))
    ]
    slow = [[visible[q0:q1, k0:k1].sum() for k0, k1 in sides[1]] for q0, q1 in sides[0]]
    np.testing.assert_array_equal(grid.count_visible(), slow)
    seen, cut = grid.tell_cells()
    full = [[visible[q0:q1, k0:k1].all() for k0, k1 in sides[1]] for q0, q1 in sides[0]]
    np.testing.assert_array_equal(seen, np.array(slow) > 0)
    np.testing.assert_array_equal(seen & ~cut, full)


def test_edges_of_cells_are_multiples_of_their_steps():
    for region, cells in product([(100, 999, 3, 64), (7, 8, 0, 1000), (511, 513, 0, 700)], (4, 100, 512)):
        grid = lay_grid(1000, 1000, region, cells)
        for first, step, ends, wanted in (
            (grid.query, grid.query_step, grid.query_ends, region[:2]),
            (grid.key, grid.key_step, grid.key_ends, region[2:]),
        ):
            assert len(first) <= cells
            assert not np.any(first % step)
            assert first[0] <= wanted[0] < first[0] + step
            assert ends[-2:][0] <= wanted[1] <= ends[-1] or len(first) == 1


def test_a_long_map_tells_its_progress_and_can_be_stopped(kept, monkeypatch):
    head, _ = kept
    monkeypatch.setattr(score_map, "TILE", 8)
    shares = []
    map_scores(
        head, None, 16, what="past", statistic="maximum", progress=lambda share: not shares.append(share)
    )
    assert shares == sorted(shares)
    assert len(shares) > 3
    assert shares[-1] == 1.0
    told = []
    with pytest.raises(Stopped):
        map_scores(head, None, 16, what="past", statistic="maximum", progress=told.append)
    assert len(told) == 1
    monkeypatch.setattr(score_map, "DIRECT", 1000)
    assert is_quick(head, "total", "maximum")
    assert not is_quick(head, "past", "maximum")
    assert is_quick(head, "past", "maximum", (0, 16, 0, 16))


@pytest.mark.parametrize(("options", "message"), [
    ({"region": (5, 5, 0, 9)}, "rectangle must lie within"),
    ({"region": (0, 10_000, 0, 9)}, "rectangle must lie within"),
    ({"cells": 0}, "at least one cell"),
    ({"statistic": "median"}, "one of mean, maximum"),
    ({"what": "3"}, "pairs 0 to 2"),
    ({"what": "fast"}, "expected indices"),
])  # fmt: skip
def test_what_cannot_be_drawn_is_said_in_one_line(kept, options, message):
    with pytest.raises(ConfigError, match=message) as raised:
        map_scores(kept[0], **options)
    assert "\n" not in str(raised.value)


def test_a_head_that_was_not_kept_is_named_with_what_to_do(tmp_path):
    with open_capture(write_kept(tmp_path / "kept.h5", 40)) as capture:
        assert list_kept_heads(capture) == [(2, 1)]
        with pytest.raises(ConfigError, match=r"layer 2, head 0 was not kept: .* holds 2:1"):
            load_kept_head(capture, 2, 0)
        with pytest.raises(ConfigError, match="no sequence 4"):
            load_kept_head(capture, 2, 1, sequence=4)


def test_kept_vectors_of_an_older_format_ask_for_a_new_capture(tmp_path):
    path = write_kept(tmp_path / "kept.h5", 40)
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 3
        for name in ("rope/logit_scaling", "rope/window", "rope/logit_softcap", "samples/kept_maximum"):
            del file[name]
    with open_capture(path) as capture:
        assert capture["samples/kept_query"].shape[2] == 40
        with pytest.raises(FormatError, match=r"\(format 3\).*Capture it again with this ropediag"):
            load_kept_head(capture, 2, 1)
