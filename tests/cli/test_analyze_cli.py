"""``ropediag analyze`` on the shipped capture: a page, JSON, tables, an exit status."""

import json
import shutil

import pytest

from ropediag.store import CaptureWriter
from tests.analysis.captures import EXAMPLE
from tests.cli.command_line import run
from tests.store.synthetic import make_attributes, make_header, make_layer


@pytest.fixture
def ropediag(monkeypatch, capsys):
    """Give a function that runs the command line."""
    return lambda *arguments: run(monkeypatch, capsys, *arguments)


def test_the_page_names_break_drift_and_the_ten_worst(ropediag, tmp_path):
    shutil.copy(EXAMPLE, tmp_path / "alone.h5")  # without the attribution that lies next to it
    done = ropediag("analyze", tmp_path / "alone.h5")
    assert done.status == 0, done.err
    said = " ".join(done.out.split())
    assert said.startswith("geometry: Training was 128 tokens (pretraining): 84 rotary pairs")
    assert "description: demo, trained at 128 tokens and read at 8,192, breaks in loss" in said
    assert "cause: What the unseen angles cost, a capture cannot tell" in said
    assert "the 10 pairs that drift most" in done.out
    rows = done.out.split("95 % interval\n")[1].splitlines()[:10]
    assert all(len(row.split()) >= 10 for row in rows)
    assert "measured against predicted" in done.out
    assert "…" not in done.out


def test_what_an_attribution_found_comes_first(ropediag):
    said = " ".join(ropediag("analyze", EXAMPLE).out.split())
    assert said.startswith("cause: Of 2.20")
    assert "a capture cannot tell" not in said


def test_json_holds_the_pairs_of_theory_and_measurement(ropediag):
    done = ropediag("analyze", EXAMPLE, "--json")
    figures = json.loads(done.out)
    assert figures["critical_pair"] == 11
    assert 11 <= figures["onset_pair"] <= 14
    assert figures["past_critical"] >= 0.9


@pytest.mark.parametrize(("failure", "status"), [("drift", 3), ("loss", 3)])
def test_the_exit_status_is_for_pipelines(ropediag, failure, status):
    assert ropediag("analyze", EXAMPLE, "--fail-on", failure, "--json").status == status


def test_csv_holds_every_diagnostic(ropediag, tmp_path):
    from ropediag.analysis.diagnostic import list_diagnostics

    done = ropediag("analyze", EXAMPLE, "--csv", tmp_path / "tables")
    assert done.status == 0, done.err
    names = {path.stem.split("-")[0] for path in (tmp_path / "tables").iterdir()}
    assert names == set(list_diagnostics())
    lines = (tmp_path / "tables" / "drift-layer-query_head-pair.csv").read_text().splitlines()
    assert len(lines) == 1 + 4 * 2 * 32
    assert lines[0].startswith("layer,query_head,pair,drift,drift_se")
    columns = (tmp_path / "tables" / "drift-columns.csv").read_text().splitlines()
    assert columns[0] == "column,unit,meaning"
    assert any(line.startswith("onset,tokens,") for line in columns)


def test_a_folder_that_cannot_be_made_is_one_clear_line(ropediag, tmp_path):
    (tmp_path / "file").write_text("")
    done = ropediag("analyze", EXAMPLE, "--csv", tmp_path / "file" / "tables")
    assert done.status == 2
    assert "cannot make the folder" in done.err
    assert done.err.count("\n") == 1


def test_an_unfinished_capture_is_judged_on_what_it_holds(ropediag, tmp_path):
    """Nine of twelve sequences are there; the other three, and a layer of the tenth, are still to come."""
    header = make_header(sequences=12, length=128)
    writer = CaptureWriter.create(tmp_path / "run.h5", header, make_attributes(length=128))
    for sequence in range(9):
        for layer in (0, 1, 2):
            writer.write_layer(sequence, layer, make_layer(header, sequence, layer))
    writer.close()
    figures = json.loads(ropediag("analyze", tmp_path / "run.h5.partial", "--json").out)
    assert figures["sequences"] == 9
    assert figures["missing_units"] == 9
    assert figures["tested_pairs"] > 0
    assert any("not finished: 9" in sentence for sentence in figures["weak"])


def test_a_question_that_the_capture_cannot_answer_is_no_pass(ropediag, tmp_path):
    out = tmp_path / "short.h5"
    assert ropediag("capture", "--model", "demo", "--len", 128, "--rows", 4, "--out", out).status == 0
    said = ropediag("analyze", out)
    assert "within the 128 it was trained at" in said.out.replace("\n", " ")
    for failure in ("drift", "loss"):
        done = ropediag("analyze", out, "--fail-on", failure)
        assert done.status == 2
        assert f"--fail-on {failure}" in done.err
