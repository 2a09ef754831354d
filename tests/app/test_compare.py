"""Comparing in the browser: which captures, their curves and limits, the difference map, the study."""

import re
import shutil

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.compare import compare_captures
from ropediag.app.pages._compared import SEPARATOR, list_compared
from ropediag.app.pages._difference import BY_LAG, MAP
from ropediag.app.pages.compare import CURVES, DRIFTS, LIMITS, LIMITS_TABLE
from ropediag.app.view import Desk
from ropediag.errors import ConfigError
from ropediag.store import CaptureWriter
from tests.app.browsing import GRAPH, click_cell, read_fields, read_trace, wait_drawn, wait_until
from tests.app.conftest import CAPTURES
from tests.store.synthetic import make_attributes, make_header, write_capture, write_units

START = "/compare?capture=example-8192.h5"
TWO = f"{START}&with=example-tuned-b160000-8192.h5"
PANELS = (
    "compare-curves",
    "compare-drifts",
    "difference-map",
    "difference-by-lag",
    "compare-limits",
    "study-law",
)


def list_names(page, panel: str) -> list[str]:
    """The names in the legend of a figure."""
    return page.evaluate(
        f"name => ({GRAPH})(name)._fullData.filter(one => one.showlegend !== false).map(one => one.name)",
        panel,
    )


def test_every_figure_of_the_page_is_drawn_with_the_selected_capture_first(page) -> None:
    page.goto(START)
    wait_drawn(page, *PANELS)
    names = list_names(page, "compare-curves")
    assert names[0] == "example-8192"
    assert set(names[1:]) == {f"example-tuned-b{base}-8192" for base in (500, 160000, 16000000)}
    table = page.locator("table").first.inner_text()
    assert "example-8192 (selected)" in table
    assert re.search(r"16,000,000\s+128\s+128\s+8,192\s+none\s+1,882\s+1,617\s+3,0\d\d\b", table)


def test_the_difference_map_is_the_difference_of_both_and_a_click_selects_its_pair(page) -> None:
    page.goto(TWO)
    wait_drawn(page, "difference-map")
    with (
        open_capture(CAPTURES / "example-8192.h5") as first,
        open_capture(CAPTURES / "example-tuned-b160000-8192.h5") as second,
    ):
        drift = compare_captures(first, second, "drift").drift.values
    shown = np.array(read_trace(page, "difference-map")["z"])
    np.testing.assert_allclose(shown, drift.reshape(8, 32).T, rtol=1e-5, atol=1e-6)
    click_cell(page, "difference-map", 6, 12)
    page.wait_for_url(re.compile("pair=12"))
    fields = read_fields(page)
    assert (fields["layer"], fields["query_head"]) == ("3", "0")
    assert fields["with"] == "example-tuned-b160000-8192.h5"
    page.get_by_text("Of layer 3, head 0.").wait_for()
    with (
        open_capture(CAPTURES / "example-8192.h5") as first,
        open_capture(CAPTURES / "example-tuned-b160000-8192.h5") as second,
    ):
        mean = compare_captures(first, second, "scores")["mean"].sel(layer=3, query_head=0).values
    shown = np.array(read_trace(page, "difference-by-lag")["z"])
    np.testing.assert_allclose(shown, mean, rtol=1e-4, atol=1e-5)


def test_captures_are_added_in_the_control_and_taken_back_by_the_back_button(page) -> None:
    page.goto(TWO)
    wait_drawn(page, "compare-curves")
    assert list_names(page, "compare-curves") == ["example-8192", "example-tuned-b160000-8192"]
    page.locator("#compared").click()
    page.get_by_role("option", name="example-65536.h5").click()
    page.wait_for_url(re.compile("example-65536"))
    wanted = ["example-8192", "example-tuned-b160000-8192", "example-65536"]
    drawn = f"names => JSON.stringify(({GRAPH})('compare-curves')._fullData.filter(one => one.showlegend !== false).map(one => one.name)) === JSON.stringify(names)"  # noqa: E501
    wait_until(page, drawn, arg=wanted)
    page.go_back()
    wait_until(page, drawn, arg=wanted[:2])


def test_captures_of_other_lengths_compare_and_the_page_says_so(page) -> None:
    page.goto(f"{START}&with=example-kept-2048.h5&layer=1&query_head=1")
    wait_drawn(page, "difference-by-lag", "compare-curves")
    page.get_by_text("The captures are 8,192 and 2,048 tokens long").first.wait_for()
    assert np.array(read_trace(page, "difference-by-lag")["z"]).shape == (32, 72)


def test_a_folder_with_one_capture_says_what_to_do(chromium, serve, tmp_path) -> None:
    shutil.copy(CAPTURES / "example-kept-2048.h5", tmp_path)
    context = chromium.new_context(base_url=serve(tmp_path))
    tab = context.new_page()
    tab.goto("/compare")
    tab.get_by_text("holds one capture only").first.wait_for()
    tab.get_by_text("This folder holds no study").wait_for()
    context.close()


def test_captures_of_other_heads_share_curves_but_no_map(tmp_path) -> None:
    shutil.copy(CAPTURES / "example-kept-2048.h5", tmp_path)
    write_capture(tmp_path / "other.h5")
    view = Desk(tmp_path).view({"capture": "example-kept-2048.h5", "with": "other.h5"})
    for panel in (CURVES, DRIFTS):
        measured = panel.measure(view)
        assert measured.capture.values.tolist() == ["example-kept-2048", "other"]
        assert panel.draw(measured, view).data
    for panel in (MAP, BY_LAG):
        with pytest.raises(ConfigError, match=r"32 pairs a head and .* 3: number n of one is not number n"):
            panel.measure(view)


@pytest.fixture
def mixed(tmp_path) -> Desk:
    """A folder of finished captures and of two that cannot be measured, which come first by name."""
    for name in ("kept.h5", "one.h5"):
        shutil.copy(CAPTURES / "example-kept-2048.h5", tmp_path / name)
    with CaptureWriter.create(tmp_path / "a-begun.h5", make_header(), make_attributes()):
        pass
    header, attributes = make_header(), make_attributes(train_len=0, tune_len=0)
    with CaptureWriter.create(tmp_path / "b-unknown.h5", header, attributes) as writer:
        write_units(writer, header)
        writer.finish({"seconds": 1.5})
    return Desk(tmp_path)


@pytest.mark.parametrize("chosen", ["", SEPARATOR.join(["a-begun.h5", "b-unknown.h5", "one.h5"])])
def test_captures_that_cannot_be_measured_are_left_out_and_named(mixed: Desk, chosen: str) -> None:
    view = mixed.view({"capture": "kept.h5", "with": chosen})
    assert set(list_compared(view)) == {"a-begun.h5", "b-unknown.h5", "one.h5"}
    for panel in (CURVES, LIMITS, DRIFTS):
        measured = panel.measure(view)
        assert measured.capture.values.tolist() == ["kept", "one"]
        assert panel.draw(measured, view).data
        assert "a-begun" not in panel.code(view)
    said = str(LIMITS_TABLE.render(view))
    assert "a-begun is left out." in said
    assert "b-unknown is left out." in said
    assert "set-training" in said
    assert "kept (selected)" in said
    assert MAP.measure(view).attrs["cells"] > 0


def test_a_selected_capture_that_cannot_be_measured_hides_no_other(mixed: Desk) -> None:
    view = mixed.view({"capture": "b-unknown.h5"})
    assert CURVES.measure(view).capture.values.tolist() == ["kept", "one"]
    said = str(LIMITS_TABLE.render(view))
    assert "b-unknown is left out." in said
    assert "(selected)" not in said


def test_finished_captures_come_first_where_none_is_chosen(mixed: Desk) -> None:
    assert list_compared(mixed.view({"capture": "kept.h5"})) == ["one.h5", "b-unknown.h5", "a-begun.h5"]


def test_a_file_with_a_comma_in_its_name_can_be_chosen(tmp_path) -> None:
    (tmp_path / "sub").mkdir()
    names = ["with,comma.h5", "sub/other.h5"]
    for name in ("first.h5", *names):
        shutil.copy(CAPTURES / "example-kept-2048.h5", tmp_path / name)
    view = Desk(tmp_path).view({"capture": "first.h5", "with": SEPARATOR.join(names)})
    assert list_compared(view) == names
    assert list_compared(Desk(tmp_path).view({"capture": "first.h5", "with": names[0]})) == names[:1]
