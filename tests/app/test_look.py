"""How pages look and read: a picture of each, light and dark, and no serious fault of accessibility."""

from pathlib import Path

import pytest

from ropediag.app.page import find_pages
from tests.app.browsing import wait_until

PAGES = {page.title.lower().replace(" ", "-"): page.path for page in find_pages()}
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
SCHEMES = ("light", "dark")
# Resolves when the page has not changed for half a second and each visible table has its header cells.
# Fails after three minutes. Its timers run in the page, so a busy machine slows them down together with it.
WAIT_UNTIL_STILL = """() => new Promise((resolve, reject) => {
    const empty = () => [...document.querySelectorAll('.ag-header-row-column')]
        .some(row => row.offsetParent && !row.querySelector('.ag-header-cell'));
    let timer, reason = 'it keeps changing';
    const end = finish => { clearTimeout(timer); clearTimeout(last); watcher.disconnect(); finish(); };
    const settle = () => {
        if (!empty()) return end(resolve);
        reason = 'a table has no header cells';
        again();
    };
    const again = () => { clearTimeout(timer); timer = setTimeout(settle, 500); };
    const fail = () => reject(new Error('the page never was still: ' + reason));
    const last = setTimeout(() => end(fail), 180000);
    const watcher = new MutationObserver(again);
    watcher.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
    again();
})"""


def open_page(page, path: str, scheme: str) -> None:
    """Open a page on the example captures and wait until nothing moves any more."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(f"{path}?capture=example-8192.h5")
    page.wait_for_selector("h1")
    page.wait_for_load_state("networkidle")
    page.evaluate(WAIT_UNTIL_STILL)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window_and_has_no_serious_fault_of_accessibility(
    page, name: str, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    open_page(page, PAGES[name], scheme)
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("document.documentElement.getAttribute('data-mantine-color-scheme')") == scheme
    found = Axe().run(page).response["violations"]
    serious = [
        (one["id"], one["help"], [(node["html"], node["failureSummary"]) for node in one["nodes"]][:5])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert not serious


def test_keys_move_the_selection(page) -> None:
    page.goto("/pairs?capture=example-8192.h5&layer=0&query_head=1&pair=3")
    wait_until(page, "document.querySelector('#select-pair')?.value.startsWith('3 ')")
    page.keyboard.press("l")  # from the last head of layer 0 to the first of layer 1
    page.wait_for_url(lambda url: "layer=1" in url and "query_head=0" in url)
    page.keyboard.press("j")
    page.wait_for_url(lambda url: "pair=4" in url)
