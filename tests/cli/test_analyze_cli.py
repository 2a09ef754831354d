"""``ropediag analyze`` on the shipped capture: a page, JSON, tables, an exit status."""

import json

import pytest

from tests.analysis.captures import EXAMPLE
from tests.cli.command_line import run


@pytest.fixture
def ropediag(monkeypatch, capsys):
    """Give a function that runs the command line."""
    return lambda *arguments: run(monkeypatch, capsys, *arguments)


def test_the_page_names_break_drift_and_the_ten_worst(ropediag):
    done = ropediag("analyze", EXAMPLE)
    assert done.status == 0, done.err
    assert done.out.startswith("demo, trained at 128 tokens and read at 8,192, breaks in loss")
    assert "the 10 pairs that drift most" in done.out
    rows = done.out.split("95 % interval\n")[1].splitlines()[:10]
    assert all(len(row.split()) >= 10 for row in rows)
    assert "measured against predicted" in done.out
    assert "…" not in done.out


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


def test_a_folder_that_cannot_be_made_is_one_clear_line(ropediag, tmp_path):
    (tmp_path / "file").write_text("")
    done = ropediag("analyze", EXAMPLE, "--csv", tmp_path / "file" / "tables")
    assert done.status == 2
    assert "cannot make the folder" in done.err
    assert done.err.count("\n") == 1
