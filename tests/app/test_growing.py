"""A folder changes under the reader: captures grow, files are damaged, pages and diagnostics come."""

from pathlib import Path

import pytest

import ropediag.analysis
import ropediag.app.pages
from ropediag.app.page import find_pages
from ropediag.store import CaptureWriter
from tests.app.browsing import wait_drawn
from tests.app.conftest import CAPTURES
from tests.store.synthetic import make_attributes, make_header, make_layer, make_loss


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cut.h5").write_bytes((CAPTURES / "example-8192.h5").read_bytes()[:100_000])
    return tmp_path


def test_a_running_capture_is_watched(chromium, serve, folder: Path) -> None:
    header = make_header(sequences=2, layers=(0, 1))
    context = chromium.new_context()
    page = context.new_page()
    with CaptureWriter.create(folder / "grows.h5", header, make_attributes()) as writer:
        writer.write_layer(0, 0, make_layer(header, 0, 0))
        page.goto(serve(folder) + "/captures")
        page.get_by_text("1 of 4 layers").wait_for()
        page.get_by_text("cut.h5 is not a whole HDF5 file").wait_for()
        writer.write_layer(0, 1, make_layer(header, 0, 1))
        writer.write_layer(1, 0, make_layer(header, 1, 0))
        page.get_by_text("3 of 4 layers").wait_for()
        page.get_by_role("link", name="Overview").click()
        wait_drawn(page, "drift-map")
        page.get_by_text("1 (sequence, layer) units are missing").wait_for()
        writer.write_layer(1, 1, make_layer(header, 1, 1))
        for sequence in range(2):
            writer.write_loss(sequence, make_loss(sequence))
        page.get_by_text("units are missing").wait_for(state="detached")
        writer.finish({"status": "complete", "seconds": 1.0})
        page.get_by_role("link", name="Captures").click()
        page.get_by_text("complete", exact=True).first.wait_for()
    context.close()


def test_a_folder_without_captures_says_what_to_do(chromium, serve, tmp_path: Path) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(serve(tmp_path))
    page.get_by_text("ropediag capture --model demo --len 8192").first.wait_for()
    context.close()


def test_a_new_page_is_one_file(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "extra.py").write_text(
        "from dash import html\n"
        "from ropediag.app.page import Page\n"
        "PAGE = Page('Extra', '/extra', 99, 'One more page.', lambda: html.P('found'))\n"
    )
    monkeypatch.setattr(ropediag.app.pages, "__path__", [*ropediag.app.pages.__path__, str(tmp_path)])
    assert "/extra" in [page.path for page in find_pages()]


def test_a_new_diagnostic_is_offered_and_drawn(chromium, serve, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "pair_number.py").write_text(
        "import xarray as xr\n"
        "from ropediag.analysis.diagnostic import diagnostic\n"
        "@diagnostic(question='Which number has a pair?', high='slow', interval='none', source='here',\n"
        "            shows='number')\n"
        "def measure_pair_number(capture):\n"
        "    number = capture['scores/mean'].isel(lag=0, drop=True) * 0 + capture['scores/mean'].pair\n"
        "    return number.assign_attrs(units='1', long_name='number').to_dataset(name='number')\n"
    )
    monkeypatch.setattr(ropediag.analysis, "__path__", [*ropediag.analysis.__path__, str(tmp_path)])
    context = chromium.new_context()
    page = context.new_page()
    page.goto(serve(CAPTURES) + "/pairs?capture=example-8192.h5&diagnostic=pair_number")
    page.get_by_text("Which number has a pair?").first.wait_for()
    wait_drawn(page, "pair-map")
    context.close()
