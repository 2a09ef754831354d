"""The drawn attention map shows what was measured, where it was measured."""

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.kept_head import load_kept_head
from ropediag.analysis.score_map import map_scores
from ropediag.analysis.token_text import add_text, read_text
from ropediag.plots.score_map import plot_score_map
from tests.analysis.kept import write_kept


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    with open_capture(write_kept(tmp_path_factory.mktemp("kept") / "kept.h5", 150)) as capture:
        yield add_text(map_scores(load_kept_head(capture, 2, 1), (40, 150, 0, 100), 64), read_text(capture))


def test_cells_stand_where_their_tokens_are(measured):
    figure = plot_score_map(measured)
    np.testing.assert_array_equal(figure.data[0].z, measured.logit)
    np.testing.assert_array_equal(figure.data[0].y, measured["query"].values + 0.5)  # cells of two queries
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
