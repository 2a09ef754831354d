"""``ropediag compare`` as a user meets it: a table, JSON, CSV, and one line where it cannot be."""

import json

import pandas as pd
import pytest

from ropediag import open_capture
from ropediag.analysis.compare import compare_captures, list_comparisons
from tests.analysis.captures import EXAMPLE
from tests.cli.command_line import run as run_command
from tests.store.synthetic import write_capture


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Two captures of one model on two texts."""
    from ropediag.capture import capture_checkpoint
    from ropediag.config import CaptureConfig

    folder = tmp_path_factory.mktemp("texts")
    for seed in (0, 1):
        path = folder / f"{seed}.h5"
        capture_checkpoint(CaptureConfig(model="demo", length=256, sequences=8, seed=seed, out=path))
    return folder / "0.h5", folder / "1.h5"


@pytest.fixture
def compare(monkeypatch, capsys, tmp_path):
    """Give a function that compares two captures of random numbers, the second with fewer layers."""
    write_capture(tmp_path / "a.h5")
    write_capture(tmp_path / "b.h5", layers=(1, 2), sequences=3)
    monkeypatch.chdir(tmp_path)
    return lambda *words: run_command(monkeypatch, capsys, "compare", *words)


def test_a_table_names_the_places_and_what_was_left_out(compare):
    outcome = compare("a.h5", "b.h5")
    assert outcome.status == 0, outcome.err
    for words in ("A  a.h5: toy at 40 tokens", "scores: mean", "layer", "B - A"):
        assert words in outcome.out
    assert "phase_gap: gap (rad); not tested, 0 differ" in outcome.out  # the geometry is the same
    for name in list_comparisons():
        assert name in outcome.out


def test_the_first_lines_say_what_changed(compare, texts):
    tuned = EXAMPLE.resolve().parent / "example-tuned-b160000-8192.h5"
    said = compare(EXAMPLE.resolve(), tuned, "--diagnostic", "pair_norms").out
    assert "\nlimit 146 -> 468 (law 128 -> 386); drifting pairs 73 -> 53\n" in said  # of two texts
    said = compare(texts[0], texts[0], "--diagnostic", "pair_norms").out
    assert "; short-context loss +0.00\n" in said


def test_two_captures_of_one_model_are_compared_whatever_their_labels_are(compare, texts):
    outcome = compare(*texts)
    assert outcome.status == 0, outcome.err
    assert "side past, layer" in outcome.out or "side before, layer" in outcome.out
    assert "left out" not in outcome.out


def test_of_one_model_on_two_texts_no_difference_stands_where_there_are_errors(compare, texts):
    fields = json.loads(compare(*texts, "--json").out)["differences"]
    tested = {name: found for name, found in fields.items() if found["tested"]}
    assert {"scores", "drift", "pair_norms"} <= set(tested)
    assert tested["scores"]["tested"] > 10_000
    assert all((found["standing"], found["differences"]) == (0, []) for found in tested.values())
    assert "tested, 0 significant" in compare(*texts, "--diagnostic", "scores").out


def test_a_capture_does_not_differ_from_itself(compare):
    outcome = compare(EXAMPLE, EXAMPLE, "--diagnostic", "pair_norms", "--diagnostic", "scores")
    assert outcome.status == 0, outcome.err
    for name in ("pair_norms: product", "scores: mean (logit)"):
        (line,) = (line for line in outcome.out.splitlines() if line.startswith(name))
        assert line.endswith("tested, 0 significant")


def test_json_holds_the_differences_with_their_places(compare):
    fields = json.loads(compare("a.h5", "b.h5", "--json", "--diagnostic", "breakdown").out)
    assert fields["first"] == {"path": "a.h5", "model": "toy", "length": 40}
    ranking = fields["differences"]["breakdown"]
    assert (ranking["variable"], ranking["tested"]) == ("past_mean", 0)
    largest = ranking["differences"][0]
    with open_capture("a.h5") as one, open_capture("b.h5") as other:
        found = compare_captures(one, other, "breakdown")["past_mean"]
    assert largest["difference"] == pytest.approx(float(found.sel(largest["at"])))
    assert abs(largest["difference"]) == pytest.approx(float(abs(found).max()))
    assert largest["second"] - largest["first"] == pytest.approx(largest["difference"])


def test_csv_holds_every_difference(compare, tmp_path):
    outcome = compare("a.h5", "b.h5", "--csv", "tables", "--diagnostic", "pair_norms")
    assert outcome.status == 0, outcome.err
    table = pd.read_csv(tmp_path / "tables" / "pair_norms-layer-query_head-pair.csv")
    assert list(table.columns) == ["layer", "query_head", "pair", "query_norm", "product", "product_se"]
    with open_capture("a.h5") as one, open_capture("b.h5") as other:
        found = compare_captures(one, other, "pair_norms")
    for _, row in table.iterrows():
        at = {name: int(row[name]) for name in ("layer", "query_head", "pair")}
        assert row["product"] == pytest.approx(float(found["product"].sel(at)), nan_ok=True)
    assert len(table) == found["product"].size


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a.h5", "c.h5"), "no such capture"),
        (("a.h5", "b.h5", "--diagnostic", "norms"), "choose from scores"),
        (("a.h5", "b.h5", "--csv", "a.h5"), "cannot make the folder"),
    ],
)
def test_what_cannot_be_compared_is_one_line(compare, words, message):
    outcome = compare(*words)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
