"""The drawn attention map shows what was measured, where it was measured."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.kept_head import KeptHead, load_kept_head
from ropediag.analysis.score_map import map_scores
from ropediag.analysis.token_text import TokenText, add_text, read_text
from ropediag.plots.score_map import plot_score_map
from ropediag.schema import block_size
from tests.analysis.kept import write_kept


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    with open_capture(write_kept(tmp_path_factory.mktemp("kept") / "kept.h5", 150)) as capture:
        yield add_text(map_scores(load_kept_head(capture, 2, 1), (40, 150, 0, 100), 64), read_text(capture))


def test_cells_stand_where_their_tokens_are(measured):
    figure = plot_score_map(measured)
    np.testing.assert_array_equal(figure.data[0].z, measured.logit)
    np.testing.assert_array_equal(figure.data[0].y, [*(measured["query"].values - 0.5), 149.5])
    assert figure.layout.xaxis.range == (-0.5, 99.5)
    assert figure.layout.yaxis.range == (149.5, 39.5), "queries run down"


def test_colours_go_two_ways_around_zero(measured):
    trace = plot_score_map(measured).data[0]
    assert trace.zmax == -trace.zmin == pytest.approx(float(np.nanmax(np.abs(measured.logit))))


def test_the_figure_holds_the_texts_of_rows_and_columns(measured):
    meta = plot_score_map(measured).layout.meta
    for side in ("query", "key"):
        assert meta[side]["first"] == measured[side].values.tolist()
        assert meta[side]["step"] == 2
        assert meta[side]["text"] == measured[f"{side}_text"].values.tolist()


@pytest.mark.parametrize("region", [None, (1000, 1300, 0, 1500), (2000, 2256, 1000, 1256)])
def test_the_figure_weighs_the_same_at_any_length(region):
    weights = []
    for length in (8_192, 65_536):
        text = TokenText(np.zeros(length, dtype=int), {0: "é"})
        figure = plot_score_map(add_text(map_scores(make_head(length), region, 256), text))
        weights.append(len(figure.to_json()))
    assert max(weights) < 500_000
    assert weights[1] < 1.05 * weights[0]


def make_head(length):
    """A head of two channels."""
    random = np.random.default_rng(0)
    query, key = random.normal(size=(2, length, 2)).astype("f4")
    block = block_size(length)
    blocks = np.zeros((length // block, length // block))
    return KeptHead(
        0, 0, 0, query, key, blocks, blocks.astype("f4"), block, length, np.nan, np.array([[0, 1]]), 1
    )
