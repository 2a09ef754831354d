"""What goes wrong is said where it is seen, and nothing that was there before stays under a new name."""

import shutil
from pathlib import Path

import pytest

from ropediag.app.failure import word_failure
from ropediag.app.page import find_pages, list_uses
from ropediag.app.view import Desk
from ropediag.app.wiring import resolve_selection, word_notice
from ropediag.errors import ConfigError
from ropediag.store import CaptureWriter
from tests.app.browsing import read_fields, wait_drawn, wait_until
from tests.app.conftest import CAPTURES
from tests.store.synthetic import make_attributes, make_header, make_layer


def test_every_store_on_a_page_is_told_its_fields(page) -> None:
    known = list_uses(find_pages())
    for one in find_pages():
        page.goto(one.path)
        page.wait_for_selector("h1")
        layout = str(one.layout())
        placed = {part.split("'")[0] for part in layout.split("'type': 'need', 'panel': '")[1:]}
        assert placed <= set(known), one.path


def test_a_fault_is_named_and_a_mistake_explained(caplog) -> None:
    assert "the pair is too slow" in str(word_failure(ConfigError("the pair is too slow")))
    assert "ZeroDivisionError" in str(word_failure(ZeroDivisionError("division by zero")))
    assert "division by zero" in caplog.text


def test_a_link_to_what_is_not_there_says_so(page) -> None:
    page.goto("/?capture=gone.h5")
    page.get_by_text("gone.h5 is not in this folder").wait_for()
    page.goto("/pairs?capture=example-8192.h5&layer=999&query_head=1&pair=4")
    page.get_by_text("example-8192.h5 has no layer 999. Shown is layer").wait_for()


def test_what_is_there_needs_no_notice() -> None:
    query = {"capture": "example-8192.h5", "layer": "1", "query_head": "1", "pair": "14"}
    selection, _ = resolve_selection(Desk(CAPTURES), query)
    assert word_notice(query, selection) is None


def test_a_capture_without_a_layer_is_not_opened_first(tmp_path: Path) -> None:
    header = make_header(sequences=1, layers=(0, 1))
    shutil.copy(CAPTURES / "example-8192.h5", tmp_path / "done.h5")
    created = {"created": "2999-01-01T00:00:00+00:00"}
    with CaptureWriter.create(tmp_path / "begins.h5", header, make_attributes(**created)) as writer:
        view = Desk(tmp_path).view({})
        assert view.entry.name == "done.h5"
        with pytest.raises(ConfigError, match=r"begins\.h5 has no finished layer yet"):
            _ = Desk(tmp_path).view({"capture": "begins.h5"}).capture
        writer.write_layer(0, 0, make_layer(header, 0, 0))
        assert Desk(tmp_path).view({}).entry.name == "begins.h5"


def test_a_growing_capture_is_kept_once(tmp_path: Path, monkeypatch) -> None:
    from ropediag.app import catalog

    monkeypatch.setattr(catalog, "FRESH", 0.0)
    monkeypatch.setattr(catalog, "PACE", 0.0)
    header, desk = make_header(sequences=1, layers=(0, 1, 2)), Desk(tmp_path)
    with CaptureWriter.create(tmp_path / "grows.h5", header, make_attributes()) as writer:
        for layer in range(3):
            writer.write_layer(0, layer, make_layer(header, 0, layer))
            view = desk.view({})
            view.keep("anything", lambda: 1)
            assert view.capture.missing_layers == tuple((0, late) for late in range(layer + 1, 3))
            assert len(desk._open._kept) == 1


def test_a_choice_that_is_not_offered_adds_no_step_to_go_back(page) -> None:
    page.goto("/?capture=example-8192.h5")
    wait_drawn(page, "drift-map")
    page.goto("/pairs?capture=example-8192.h5&diagnostic=nonsense")
    wait_drawn(page, "pair-map", "pair-profile")
    page.go_back()
    page.wait_for_selector("h1:has-text('Overview')")


def test_the_copied_link_holds_all_that_is_selected(page, address: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/pairs")
    wait_drawn(page, "pair-profile")
    page.get_by_role("button", name="Copy link").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"{address}/pairs?")
    assert all(f"{field}=" in copied for field in ("capture", "layer", "query_head", "pair"))
    assert "stamp" not in copied


def test_no_key_is_lost(page) -> None:
    page.goto("/pairs?capture=example-8192.h5&layer=1&query_head=1&pair=10")
    wait_until(page, "document.querySelector('#select-pair')?.value.startsWith('10 ')")
    for _ in range(6):
        page.keyboard.press("j")
    wait_until(page, "document.querySelector('#select-pair').value.startsWith('16 ')")


def test_a_tab_is_named_after_its_page_and_capture(page) -> None:
    page.goto("/pairs?capture=example-8192.h5")
    wait_until(page, "document.title === 'Pairs \u00b7 example-8192.h5 \u00b7 ropediag'")
    page.locator("a.brand").click()
    wait_until(page, "document.title === 'Overview \u00b7 example-8192.h5 \u00b7 ropediag'")


def test_a_newer_capture_does_not_take_the_place_of_the_one_on_the_screen(
    chromium, serve, tmp_path: Path
) -> None:
    shutil.copy(CAPTURES / "example-8192.h5", tmp_path / "old.h5")
    context = chromium.new_context()
    page = context.new_page()
    page.goto(serve(tmp_path))
    wait_drawn(page, "drift-map")
    shutil.copy(CAPTURES / "example-tuned-b500-8192.h5", tmp_path / "new.h5")  # made later
    page.locator("#select-capture").click()
    page.get_by_role("option", name="new.h5").wait_for()
    assert page.input_value("#select-capture") == "old.h5"
    page.reload()
    wait_until(page, "document.querySelector('#select-capture')?.value === 'new.h5'")
    context.close()


def test_a_notice_goes_when_what_is_selected_is_there(page) -> None:
    page.goto("/pairs?capture=example-8192.h5&layer=999&query_head=1&pair=14")
    page.get_by_text("has no layer 999. Shown is layer 1").wait_for()
    wait_drawn(page, "pair-profile")
    page.locator("#select-layer").click()
    page.get_by_role("option", name="2", exact=True).click()
    page.get_by_text("has no layer 999").wait_for(state="detached")
    assert read_fields(page)["layer"] == "2"
