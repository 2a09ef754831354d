"""``ropediag attribute`` as it is typed: what it prints, writes and refuses."""

import csv
import json

import pytest

from ropediag.store import open_capture
from tests.cli.command_line import run

LENGTH = 160
SMALL = ("attribute", "--model", "demo", "--len", LENGTH, "--sequences", 2, "--points", 3)


@pytest.fixture
def ropediag(monkeypatch, capsys):
    """Return a function that runs the command line."""
    return lambda *arguments: run(monkeypatch, capsys, *arguments)


def test_it_prints_the_sum_and_its_parts(ropediag, tmp_path):
    out, tables = tmp_path / "a.h5", tmp_path / "tables"
    done = ropediag(*SMALL, "--out", out, "--csv", tables)
    assert done.status == 0, done.err
    assert "nats of excess loss from token 128 to 159" in " ".join(done.out.split())
    assert f"wrote {out}" in done.out
    assert "3 points: the parts sum to" in done.err
    with open_capture(out) as file:
        figures = json.loads(file.attrs["figures"])
    with (tables / "attribution-pair.csv").open(newline="") as file:
        rows = {int(row["pair"]): float(row["by_pair"]) for row in csv.DictReader(file)}
    assert rows == {
        entry["pair"]: pytest.approx(entry["nats"], rel=1e-5, abs=1e-9) for entry in figures["by_pair"]
    }
    again = ropediag(*SMALL, "--out", out)
    assert again.status != 0
    assert "--force" in again.err


def test_json_holds_the_same_figures(ropediag, tmp_path):
    done = ropediag(*SMALL, "--json")
    assert done.status == 0, done.err
    figures = json.loads(done.out)
    assert figures["length"] == LENGTH
    assert figures["total"]["nats"] == pytest.approx(
        sum(each["nats"] for each in figures["by_pair"]), abs=1e-5
    )
    assert {"difference", "other", "excess", "missed", "points", "top", "first_keys"} <= set(figures)


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_length_without_unseen_angles_writes_nothing(ropediag, tmp_path, words):
    out = tmp_path / "a.h5"
    done = ropediag("attribute", "--model", "demo", "--len", 100, "--out", out, *words)
    assert done.status == 0
    assert "no untrained angle occurs at 100 tokens" in done.out
    assert not list(tmp_path.iterdir())


def test_a_layer_that_is_missing_is_one_line(ropediag):
    done = ropediag(*SMALL, "--layers", 9)
    assert done.status != 0
    assert "no layer 9" in done.err
    assert "Traceback" not in done.err
