"""The calculator in a folder without captures: oracles, links, boxes, buttons and errors."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from ropediag.app.pages._calculator import PRESETS
from tests.app.browsing import read_fields, read_trace, wait_drawn, wait_until

TUNED = "pretrain-10000_train-4096_base-1e6_tune-4096_rotary-128_target-131072"
PANELS = ("theory-periods", "theory-law", "theory-coverage")


@pytest.fixture(scope="module")
def theory(serve, tmp_path_factory) -> str:
    """The address of the page in an empty folder."""
    return serve(tmp_path_factory.mktemp("empty")) + "/theory"


def read_answers(page) -> dict[str, list[str]]:
    """Give the table of the laws: row -> texts, one a setting."""
    rows = page.locator("[id*=theory-answers] tbody tr").all()
    cells = [row.locator("td").all_inner_texts() for row in rows]
    return {name: texts for name, *texts in cells}


def wait_answer(page, text: str) -> None:
    page.locator("[id*=theory-answers]").get_by_text(text).first.wait_for()


def set_box(page, label: str, value: str) -> None:
    box = page.get_by_label(label, exact=True)
    box.fill(value)
    box.press("Enter")


@pytest.mark.parametrize(
    ("settings", "row", "text"),
    [
        (TUNED, "Critical dimension", "92 of 128"),
        (TUNED, "Predicted limit", "129,027 tokens"),
        (TUNED, "Base needed", "1,022,122 "),
        (TUNED, "To be cautious", "1,378,415"),
        (TUNED, "Retrieval bound", "27,115 tokens"),
        (TUNED.replace("tune-4096", "tune-16384"), "Critical base", "71,738 "),
        (TUNED.replace("base-1e6", "base-600000"), "Predicted limit", "89,377 tokens"),
        (TUNED.replace("base-1e6", "base-500"), "Predicted limit", "no bound"),
        ("base-500000_train-8192_rotary-64", "Critical dimension", "36 of 64"),
        ("base-10000_train-2048_rotary-96", "Critical dimension", "62 of 96"),
        ("base-500000_train-8192_tune-262144_rotary-128", "Critical base", "283,461,213 "),
        ("base-500000_train-8192_rotary-128_rule-llama3_factor-8", "Predicted limit", "65,536 tokens"),
    ],
)
def test_the_page_answers_as_published(page, theory, settings, row, text) -> None:
    page.goto(f"{theory}?settings={settings}")
    wait_answer(page, "when tuned at")
    assert text in read_answers(page)[row][0]


def test_the_page_opens_with_a_comparison_and_draws_it(page, theory) -> None:
    page.goto(theory)
    wait_drawn(page, *PANELS)
    periods = read_trace(page, "theory-periods", 1)
    np.testing.assert_allclose(periods["y"], 2 * np.pi * 1e4 ** (np.arange(64) / 64), rtol=1e-6)
    assert "129,027 tokens" in read_answers(page)["Predicted limit"][1]
    assert page.locator(".setting:visible").count() == 2


def test_a_number_goes_into_the_link_and_the_back_button_takes_it_back(page, theory) -> None:
    page.goto(f"{theory}?settings={TUNED}&pair=7")
    wait_answer(page, "129,027 tokens")
    set_box(page, "Base of setting A", "2,000,000")
    wait_answer(page, "212,347 tokens")
    assert read_fields(page) == {"settings": TUNED.replace("1e6", "2000000"), "pair": "7"}
    page.reload()
    wait_answer(page, "212,347 tokens")
    assert page.input_value("[aria-label='Base of setting A']") == "2,000,000"
    page.go_back()
    wait_answer(page, "129,027 tokens")
    assert page.input_value("[aria-label='Base of setting A']") == "1e6"


def test_a_rule_is_chosen_from_a_list(page, theory) -> None:
    page.goto(f"{theory}?settings={TUNED}")
    wait_answer(page, "129,027 tokens")
    set_box(page, "Base of setting A", "10000")
    set_box(page, "Factor of setting A", "4")
    page.get_by_label("Scaling rule of setting A").first.click()
    page.get_by_role("option", name="yarn").click()
    wait_answer(page, "16,384 tokens")
    assert read_fields(page)["settings"].endswith("rule-yarn_factor-4_target-131072")


def test_settings_are_added_copied_and_removed(page, theory) -> None:
    page.goto(f"{theory}?settings=base-10000_train-128_rotary-64")
    wait_answer(page, "22 of 64")
    rows = page.locator(".setting:visible")
    page.get_by_role("button", name="Add a setting").click()
    page.wait_for_url(re.compile(r"\*"))
    expect(page.get_by_label("Training length of setting B")).to_have_value("128")  # a copy of the last one
    set_box(page, "Training length of setting B", "256")
    page.wait_for_url(re.compile("train-256"))
    page.get_by_role("button", name="Copy setting A").click()
    page.wait_for_url(lambda url: url.count("*") == 2)
    assert re.findall(r"train-(\d+)", read_fields(page)["settings"]) == ["128", "128", "256"]
    page.get_by_role("button", name="Add a setting").click()
    page.wait_for_url(lambda url: url.count("*") == 3)
    rows.nth(3).wait_for()
    wait_until(page, "document.querySelector('#theory-add').disabled")
    page.get_by_role("button", name="Remove setting A").click()
    page.wait_for_url(lambda url: url.count("*") == 2)
    wait_until(page, "document.querySelectorAll('.setting:not([style*=none])').length === 3")


def test_a_preset_replaces_the_settings(page, theory) -> None:
    page.goto(f"{theory}?settings={TUNED}")
    wait_answer(page, "129,027 tokens")
    name = next(name for name in PRESETS if "demo" in name)
    page.get_by_label("Preset").first.click()
    page.get_by_role("option", name=name).click()
    wait_answer(page, "22 of 64")
    assert read_fields(page)["settings"] == PRESETS[name]


def test_an_error_stands_beside_its_field_and_the_others_go_on(page, theory) -> None:
    page.goto(f"{theory}?settings={TUNED}*{TUNED}")
    wait_answer(page, "129,027 tokens")
    set_box(page, "Rotary dim of setting B", "127")
    page.locator(".setting").nth(1).get_by_text("positive even number: got 127").wait_for()
    wait_answer(page, "cannot be computed")
    assert "129,027 tokens" in read_answers(page)["Predicted limit"][0]
    set_box(page, "Training length of setting A", "many")
    page.locator(".setting").nth(0).get_by_text("not a number").wait_for()
    page.locator("[id*=theory-answers]").get_by_text("mend the fields").wait_for()
    set_box(page, "Training length of setting A", "4096")
    wait_answer(page, "129,027 tokens")


def test_settings_that_cannot_be_read_are_said_once_and_the_figures_come_back(page, theory) -> None:
    page.goto(f"{theory}?settings=garbage")
    page.locator("[id*=theory-answers]").get_by_text("mend the fields").wait_for()
    page.wait_for_load_state("networkidle")
    seen = "[...document.querySelectorAll('[role=alert]')].filter(one => one.offsetHeight).length"
    wait_until(page, f"{seen} === 1")
    assert page.get_by_text("For retrieval").count() == 0
    page.get_by_label("Preset").first.click()
    page.get_by_role("option", name="LLaMA2 as it is", exact=True).click()
    wait_drawn(page, *PANELS)
    page.locator("#theory-figures .js-plotly-plot .main-svg").first.wait_for()
    assert page.locator("[role=alert]:visible").count() == 0


def test_the_code_of_a_figure_runs(page, theory) -> None:
    page.goto(f"{theory}?settings={TUNED}*base-10000_train-128_rotary-64_rule-yarn_factor-2")
    wait_drawn(page, *PANELS)
    for panel in PANELS:
        code = page.locator(f"#panel-{panel} .code-lines").text_content()
        *lines, last = code.splitlines()
        known: dict = {}
        exec("\n".join([*lines, f"figure = {last}"]), known)
        names = {trace.name for trace in known["figure"].data}
        assert {name[0] for name in names} == {"A", "B"}


def test_what_is_typed_quickly_stays(page, theory) -> None:
    page.goto(f"{theory}?settings={TUNED}")
    wait_answer(page, "129,027 tokens")
    for number in range(1, 5):
        set_box(page, "Base of setting A", f"{number}00000")
        set_box(page, "Tuning length of setting A", f"{number}6384")
        set_box(page, "Target length of setting A", f"{number}31072")
    page.wait_for_url(lambda url: all(part in url for part in ("base-400000", "tune-46384", "target-431072")))
    page.wait_for_timeout(500)
    assert page.input_value("[aria-label='Base of setting A']") in ("400000", "400,000")
    assert page.input_value("[aria-label='Tuning length of setting A']") in ("46384", "46,384")


def test_the_echo_of_a_change_does_not_undo_a_later_one(page, theory) -> None:
    page.goto(f"{theory}?settings={TUNED}")
    wait_answer(page, "129,027 tokens")
    filled = page.evaluate("""() => {
        const { edit, fill } = window.dash_clientside.theory;
        const ids = [{ row: 0, field: "base" }, { row: 0, field: "factor" }];
        const search = edit(["10000", ""], ids, "?settings=base-1e6", []);
        const show = (values) => fill(null, search, [], ids, values, [{ row: 0 }], [{}])[0]
            .map((value) => (value === window.dash_clientside.no_update ? "kept" : value));
        return [show(["10000", "4"]), show(["1e6", "4"])];  // the echo; then the same link, opened again
    }""")
    assert filled == [["kept", "kept"], ["10,000", ""]]
