"""The text around a position."""

import numpy as np

from ropediag import open_capture
from ropediag.analysis.kept_head import load_kept_head
from ropediag.analysis.score_map import map_scores
from ropediag.analysis.token_text import AFTER, BEFORE, TokenText, add_text, read_text
from tests.analysis.kept import write_kept


def test_the_text_around_a_position_is_that_of_the_tokens():
    text = "the quick brown fox\njumps over the lazy dog " * 5
    read = TokenText(np.array([ord(sign) for sign in text]), {ord(sign): sign for sign in set(text)})
    shown = text.replace("\n", "↵")
    for position in (0, 7, 19, 60, len(text) - 1):
        before, token, after = read.around(position)
        assert token == shown[position]
        assert before == shown[max(0, position - BEFORE) : position]
        assert after == shown[position + 1 : position + 1 + AFTER]


def test_a_map_is_labelled_with_the_text_at_the_first_position_of_its_cells(tmp_path):
    with open_capture(write_kept(tmp_path / "kept.h5", 40)) as capture:
        text, head = read_text(capture), load_kept_head(capture, 2, 1)
        ids = capture["tokens/input_ids"].values[0]
        labelled = add_text(map_scores(head, cells=5), text)
        assert labelled["query"].values.tolist() == [0, 8, 16, 24, 32]
        for row, position in enumerate(labelled["query"].values):
            assert labelled.query_text.sel(part="token")[row] == {3: "a", 7: " é", 9: "↵"}[ids[position]]
    assert add_text(map_scores(head), None).identical(map_scores(head))
