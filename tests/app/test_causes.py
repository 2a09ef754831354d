"""The page of causes: every ablation of the folder, its loss at a click, and what it says without any."""

import json
import re
import shutil

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.reach_curves import measure_reach_curves
from ropediag.analysis.repair_curves import measure_repair_curves
from ropediag.analysis.repairs import measure_repairs
from ropediag.app.pages._ablations import read_ablations
from ropediag.app.pages.causes import COLUMNS, list_rows
from ropediag.app.view import Desk
from tests.analysis.test_repairs import make_figures, write_ablation
from tests.app.browsing import click_cell, read_fields, read_trace, wait_drawn, wait_until
from tests.app.conftest import CAPTURES

ABLATIONS = sorted(CAPTURES.glob("example-ablation-*.h5"))


@pytest.fixture(scope="module")
def repairs():
    opened = {path.name: open_capture(path) for path in ABLATIONS}
    yield measure_repairs(opened)
    for file in opened.values():
        file.close()


def test_rows_are_the_repairs_that_are_known(repairs) -> None:
    rows = list_rows(repairs)
    known = int(repairs.damage.notnull().sum())
    assert len(rows) == known == len({row["id"] for row in rows})
    for row in rows:
        at = repairs.sel(ablation=row["pick"]["ablation"], multiple=row["multiple"])
        for column in COLUMNS:
            value = at[column["field"]].item()
            assert row[column["field"]] == (None if value != value else value)
    assert "NaN" not in json.dumps(rows)


def test_the_figure_and_the_table_show_every_ablation(page, repairs) -> None:
    page.goto("/causes")
    wait_drawn(page, "repairs", "repair-curves")
    shown = np.array(read_trace(page, "repairs", 1)["x"])
    np.testing.assert_allclose(shown, repairs.repaired.isel(multiple=0), rtol=1e-6)
    page.locator(".ag-row").first.wait_for()
    assert page.get_by_text("pairs 12 to 15").count() > 0


def test_the_curves_over_the_reach_are_those_of_the_files(page) -> None:
    page.goto("/causes")
    wait_drawn(page, "reach-curves")
    with open_capture(CAPTURES / "example-ablation-fold-curve.h5") as file:
        curves = measure_reach_curves({"fold": file})
    shown = read_trace(page, "reach-curves", 0)
    np.testing.assert_allclose(shown["x"], curves.at)
    np.testing.assert_allclose(shown["y"], curves.repaired[0], rtol=1e-6)


def test_the_overview_shows_the_curves_of_its_model_alone(page) -> None:
    page.goto("/?capture=example-8192.h5")
    wait_drawn(page, "overview-reach")
    with open_capture(CAPTURES / "example-ablation-fold-curve.h5") as file:
        curves = measure_reach_curves({"fold": file})
    np.testing.assert_allclose(read_trace(page, "overview-reach", 0)["y"], curves.repaired[0], rtol=1e-6)
    page.goto("/?capture=example-tuned-b500-8192.h5")
    page.get_by_text("there is no curve over the trained reach").wait_for()


def test_a_click_on_a_row_shows_its_loss(page, repairs) -> None:
    page.goto("/causes")
    wait_drawn(page, "repairs", "repair-curves")
    row = repairs.ablation.values.tolist().index("example-ablation-clip-12-15.h5")
    at = repairs.isel(ablation=row, multiple=1)
    click_cell(page, "repairs", at.repaired.item(), row)
    page.wait_for_url(re.compile("ablation=example-ablation-clip-12-15"))
    wait_until(
        page,
        "[...document.querySelectorAll('.js-plotly-plot')].some(one => "
        "(one._fullData || []).some(trace => (trace.name || '').startsWith('pairs 12 to 15')))",
    )
    with open_capture(CAPTURES / "example-ablation-clip-12-15.h5") as file:
        curves = measure_repair_curves(file)
    shown = read_trace(page, "repair-curves", 3)
    np.testing.assert_allclose(shown["y"], curves.nll_changed, rtol=1e-6)


def test_a_row_of_the_table_selects_its_ablation(page) -> None:
    page.goto("/causes")
    row = page.locator('.ag-row[row-id="example-ablation-freeze-past.h5 8.0"] [col-id="change"]')
    row.scroll_into_view_if_needed()
    row.click()
    page.wait_for_url(re.compile("ablation="))
    assert read_fields(page)["ablation"] == "example-ablation-freeze-past.h5"


def test_a_folder_without_ablations_says_how_to_make_one(tmp_path, chromium, serve) -> None:
    shutil.copy(CAPTURES / "example-8192.h5", tmp_path)
    tab = chromium.new_page()
    tab.goto(serve(tmp_path) + "/causes")
    tab.get_by_text("ropediag ablate --model demo").wait_for()
    assert not tab.locator("#causes-body").is_visible()
    shutil.copy(ABLATIONS[0], tmp_path)  # one that is made meanwhile is shown
    tab.locator("#causes-body").wait_for()
    tab.locator(".ag-row").first.wait_for()
    tab.close()


def test_a_malformed_ablation_is_named_and_hides_no_other(tmp_path) -> None:
    write_ablation(tmp_path / "good.h5", make_figures())
    write_ablation(tmp_path / "bad.h5", make_figures(kind="<img src=x>"))
    read, reasons = read_ablations(Desk(tmp_path))
    assert list(read) == ["good.h5"]
    (reason,) = reasons
    assert reason.startswith("bad.h5: the figures of the ablation cannot be used")
