"""Every page opens, a click leads to the detail, and the selection survives reloads and going back."""

import re

import pytest

from ropediag.app.page import find_pages
from tests.app.browsing import click_cell, read_fields, read_trace, wait_drawn, wait_until

PAGES = [page.path for page in find_pages()]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_opens_without_a_console_error(page, path: str) -> None:
    page.goto(path)
    page.wait_for_selector("h1")
    page.wait_for_load_state("networkidle")
    assert page.locator("h1").count() == 1


def test_a_cell_of_the_drift_map_leads_to_its_pair(page) -> None:
    page.goto("/?capture=example-8192.h5")
    wait_drawn(page, "drift-map")
    click_cell(page, "drift-map", 6, 14)
    page.wait_for_url(re.compile("/pairs"))
    fields = read_fields(page)
    assert (fields["layer"], fields["query_head"], fields["pair"]) == ("3", "0", "14")


def test_the_back_button_takes_a_click_back(page) -> None:
    page.goto("/pairs?capture=example-8192.h5&layer=0&query_head=0&pair=3")
    wait_drawn(page, "pair-map")
    click_cell(page, "pair-map", 3, 20)
    page.wait_for_url(re.compile("pair=20"))
    page.go_back()
    page.wait_for_url(re.compile("pair=3"))
    wait_until(page, "document.querySelector('#select-pair').value.startsWith('3 ')")


def test_a_control_that_nobody_used_does_not_select(page) -> None:
    """A control tells what it was told a little later, when something else may be selected by then."""
    page.goto("/pairs?capture=example-8192.h5&layer=0&query_head=0&pair=3")
    wait_drawn(page, "pair-map")
    shown = page.evaluate("""() => new Promise((done) => {
        const shown = new Set();
        let end = Date.now() + 15000;
        const look = () => {
            const pair = document.querySelector("#select-pair").value.split(" ")[0];
            if (pair === "20" && !shown.has(pair)) end = Date.now() + 1500;
            shown.add(pair);
            Date.now() < end ? setTimeout(look, 1) : done([...shown]);
        };
        dash_clientside.set_props("select-pair", { value: "20" });
        look();
    })""")
    assert shown == ["3", "20"]
    wait_until(page, "document.querySelector('#select-pair').value.startsWith('3 ')")
    assert page.url.endswith("pair=3")


def test_the_selection_goes_with_the_reader_and_survives_a_reload(page) -> None:
    page.goto("/?capture=example-8192.h5&layer=2&query_head=1&pair=17")
    wait_drawn(page, "drift-map")
    page.get_by_role("link", name="Pairs").click()
    wait_drawn(page, "pair-map")
    page.reload()
    wait_drawn(page, "pair-map")
    assert page.input_value("#select-layer") == "2"
    assert page.input_value("#select-pair").startswith("17 ")


def test_the_dark_page_has_dark_figures(page) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto("/?capture=example-8192.h5")
    wait_drawn(page, "drift-map")
    wait_until(page, "document.querySelector('.js-plotly-plot')._fullLayout.paper_bgcolor === '#242424'")


def test_the_map_shows_the_numbers_of_the_analysis(page) -> None:
    import numpy as np

    from ropediag import open_capture
    from ropediag.analysis.drift import measure_drift
    from tests.app.conftest import CAPTURES

    page.goto("/?capture=example-8192.h5")
    wait_drawn(page, "drift-map")
    with open_capture(CAPTURES / "example-8192.h5") as capture:
        drift = measure_drift(capture).drift.values
    shown = np.array(read_trace(page, "drift-map")["z"])
    np.testing.assert_allclose(shown, drift.reshape(8, 32).T, rtol=1e-6)


def test_a_zoom_along_the_lag_is_in_the_link_and_stays(page) -> None:
    page.goto("/pairs?capture=example-8192.h5&layer=1&query_head=1&pair=14&lags=100-1000")
    wait_drawn(page, "pair-profile")
    shown = "document.querySelector('#panel-pair-profile .figure')._fullLayout.xaxis.range"
    wait_until(page, f"Math.abs({shown}[0] - 2) < 0.01 && Math.abs({shown}[1] - 3) < 0.01")
    graph = page.locator("#panel-pair-profile .nsewdrag").first
    graph.scroll_into_view_if_needed()
    box = graph.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 110, steps=5)
    page.mouse.up()
    page.wait_for_url(re.compile("lags=17[0-9]-5[0-9][0-9]"))
    wait_until(page, f"{shown}[0] > 2.2")
    page.wait_for_timeout(500)  # until the figure rests: it is drawn once more, within its new range
    page.go_back()
    wait_until(page, f"Math.abs({shown}[0] - 2) < 0.01")


def test_a_page_that_is_come_back_to_shows_what_is_selected_now(page) -> None:
    page.goto("/pairs?capture=example-8192.h5&layer=0&query_head=0&pair=3")
    wait_drawn(page, "pair-map", "pair-profile")
    page.get_by_role("link", name="Overview").click()
    wait_drawn(page, "drift-map")
    page.keyboard.press("j")
    page.wait_for_url(re.compile("pair=4"))
    page.locator("#select-query_head").click()
    page.get_by_role("option", name="1", exact=True).click()
    page.wait_for_url(re.compile("query_head=1"))
    page.locator("h1:visible").click()  # out of the box, in which letters are typed
    page.keyboard.press("j")
    page.wait_for_url(re.compile("query_head=1.*pair=5|pair=5.*query_head=1"))
    page.get_by_role("link", name="Theory").click()
    page.get_by_role("heading", name="Theory", exact=True).wait_for()
    page.get_by_role("link", name="Pairs").click()
    page.get_by_role("heading", name="Layer 0, head 1, pair 5").wait_for()
    shown = "[...document.querySelectorAll('h1')].filter(title => title.offsetParent)"
    wait_until(page, f"String({shown}.map(title => title.innerText)) === 'Pairs'")
