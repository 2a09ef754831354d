"""``ropediag plot`` on the shipped capture: every kind of file, every diagnostic, and what is refused."""

import base64
import importlib.util
import json
import sys

import numpy as np
import plotly.io
import pytest

from ropediag import open_capture
from ropediag.analysis.breakdown import measure_breakdown
from ropediag.analysis.diagnostic import list_diagnostics
from ropediag.analysis.drift import measure_drift
from ropediag.plots import writing
from ropediag.plots.breakdown import plot_breakdown
from tests.analysis.captures import EXAMPLE
from tests.cli.command_line import run


@pytest.fixture
def ropediag(monkeypatch, capsys):
    """Give a function that runs the command line."""
    return lambda *arguments: run(monkeypatch, capsys, *arguments)


def read_figure(path):
    return plotly.io.from_json(path.read_text())


def test_the_breakdown_is_drawn_as_everywhere(ropediag, tmp_path):
    out = tmp_path / "figure.json"
    assert ropediag("plot", EXAMPLE, "--out", out, "--layer", 1, "--query-head", 1).out == f"wrote {out}\n"
    with open_capture(EXAMPLE) as capture:
        expected = plot_breakdown(measure_breakdown(capture, layer=1, query_head=1))
    assert json.loads(out.read_text()) == json.loads(expected.to_json())


def test_a_page_holds_plotly_and_no_upload_button(ropediag, tmp_path):
    out = tmp_path / "drift.html"
    assert ropediag("plot", EXAMPLE, "drift", "--out", out).status == 0
    page = out.read_text(encoding="utf-8")
    assert '"showSendToCloud": false' in page
    assert "<script src=" not in page
    assert len(page) > 1_000_000


@pytest.mark.parametrize("name", list_diagnostics())
def test_every_diagnostic_can_be_drawn(ropediag, tmp_path, name):
    out = tmp_path / "figure.json"
    done = ropediag("plot", EXAMPLE, name, "--out", out)
    assert done.status == 0, done.err
    assert len(read_figure(out).data) >= 1


def test_one_head_alone_is_a_curve_of_its_pairs(ropediag, tmp_path):
    out = tmp_path / "figure.json"
    ropediag("plot", EXAMPLE, "drift", "--out", out, "--layer", 1, "--query-head", 1, "--variable", "onset")
    figure = read_figure(out)
    assert figure.layout.title.text.endswith("(layer 1, head 1)")
    drawn = figure.data[0].y
    with open_capture(EXAMPLE) as capture:
        onset = measure_drift(capture).onset.sel(layer=1, query_head=1)
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(drawn["bdata"]), drawn["dtype"]), onset)


def test_the_list_has_every_diagnostic_with_its_question(ropediag):
    lines = ropediag("plot", "--list").out.splitlines()
    found = list_diagnostics()
    assert [line.split()[0] for line in lines] == list(found)
    assert all(found[line.split()[0]].question in line for line in lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "a.html"), "name a capture"),
        ((EXAMPLE, "drifts", "--out", "a.html"), "no diagnostic 'drifts': did you mean drift?"),
        ((EXAMPLE, "zzz", "--out", "a.html"), "no diagnostic 'zzz': there are"),
        ((EXAMPLE, "--out", "a.pdf"), r"*.html, *.svg, *.png, *.json: got a.pdf"),
        ((EXAMPLE, "--out", "nowhere/a.html"), "nowhere is no folder"),
        ((EXAMPLE, "drift", "--out", "a.json", "--variable", "x"), "no variable 'x': it has drift"),
        ((EXAMPLE, "drift", "--out", "a.json", "--layer", "9"), "no layer 9: the capture holds [0, 1, 2, 3]"),
        ((EXAMPLE, "bm_bounds", "--out", "a.json", "--query-head", "0"), "Leave out --query-head"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(ropediag, monkeypatch, tmp_path, words, message):
    words = [word.resolve() if word is EXAMPLE else word for word in words]
    monkeypatch.chdir(tmp_path)
    done = ropediag("plot", *words)
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert message in done.err
    assert not list(tmp_path.iterdir())


def test_without_a_name_the_figure_is_called_after_capture_and_diagnostic(ropediag, monkeypatch, tmp_path):
    example = EXAMPLE.resolve()
    monkeypatch.chdir(tmp_path)
    assert ropediag("plot", example, "onset_pair").out == "wrote example-8192-onset_pair.html\n"
    assert (tmp_path / "example-8192-onset_pair.html").is_file()


def test_a_picture_without_kaleido_names_the_extra(ropediag, monkeypatch, tmp_path):
    monkeypatch.setattr(writing, "find_spec", lambda name: None)
    done = ropediag("plot", EXAMPLE, "--out", tmp_path / "a.svg")
    assert (done.status, "pip install 'ropediag[images]'" in done.err) == (2, True)


def test_a_picture_without_a_browser_names_it(ropediag, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise RuntimeError("Kaleido requires Google Chrome to be installed.\n\nand so on")

    monkeypatch.setattr(writing, "find_spec", lambda name: True)
    monkeypatch.setattr("plotly.graph_objects.Figure.to_image", fail)
    done = ropediag("plot", EXAMPLE, "--out", tmp_path / "a.png")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "none was found" in done.err


@pytest.mark.skipif(importlib.util.find_spec("kaleido") is None, reason="kaleido is not installed")
def test_pictures_are_written(ropediag, tmp_path):
    done = ropediag("plot", EXAMPLE, "--out", tmp_path / "a.svg")
    if "none was found" in done.err:
        pytest.skip("no Chrome or Chromium on this machine")
    assert done.status == 0, done.err
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<svg")
    ropediag("plot", EXAMPLE, "drift", "--out", tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


def test_listing_loads_no_plotly(monkeypatch):
    import subprocess

    program = "import sys; from ropediag.cli import main; sys.argv = ['ropediag', 'plot', '--list']\n"
    program += "try:\n    main()\nexcept SystemExit:\n    pass\n"
    program += "assert not {'plotly', 'torch', 'dash'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
