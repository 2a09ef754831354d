"""A capture that means harm breaks no page: every answer is a figure, a text, or the reason why not."""

import time
from pathlib import Path

import pytest

from ropediag.app.page import find_pages
from ropediag.app.safeguards import LARGEST
from ropediag.app.server import make_app
from tests.app.hostile import KINDS, MARKUP, write_hostile
from tests.trials import Trials, long_or

SOME = ("NaN everywhere", "odd numbers", "bins far away", "markup in the names", "very many heads")
PATIENCE = 20.0  # seconds of processor time
ADDRESSES = [
    address
    for page in find_pages()
    for address in (
        *(f"/panel/{panel.name}" for panel in page.panels),
        *(f"/table/{panel.name}" for panel in page.panels),
        *(f"/part/{part.name}" for part in page.parts),
        *(f"/choice/{choice.field}" for choice in page.choices),
    )
]
QUESTIONS = ("capture=bad.h5", "capture=bad.h5&captures=bad.h5&layer=0&query_head=0&pair=1")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # what is computed of such numbers overflows
def test_every_answer_about_a_hostile_capture_is_given(tmp_path: Path) -> None:
    with Trials("answers of the dashboard about hostile captures") as trials:
        for kind in long_or(KINDS, SOME):
            folder = tmp_path / kind.replace(" ", "-")
            folder.mkdir()
            write_hostile(folder / "bad.h5", kind)
            client = make_app(folder).server.test_client()
            for address in ADDRESSES:
                for question in QUESTIONS:
                    with trials.one():
                        begun = time.process_time()
                        answer = client.get(f"{address}?{question}")
                        assert answer.status_code in (200, 404, 507), f"{kind}: {address}"
                        assert b"a fault of ropediag" not in answer.data, f"{kind}: {address}"
                        assert len(answer.data) <= LARGEST
                        assert time.process_time() - begun < PATIENCE, f"{kind}: {address}"


def test_markup_in_a_file_and_in_its_name_stays_text(chromium, serve, tmp_path: Path) -> None:
    name = "<img src=x onerror='window.got_in = 3'>.h5"
    write_hostile(tmp_path / name, "markup in the names")
    context = chromium.new_context(base_url=serve(tmp_path))
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for one in find_pages():
        page.goto(one.path)
        page.wait_for_selector("h1")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.got_in") is None, one.path
        assert not page.locator("img[src=x]").count(), one.path
    page.goto("/captures")
    page.get_by_text(MARKUP).first.wait_for()
    page.goto("/?capture=<script>window.got_in = 4</script>")
    page.get_by_text("is not in this folder").wait_for()
    assert page.evaluate("window.got_in") is None
    assert not complaints
    context.close()
