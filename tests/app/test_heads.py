"""The page of heads: its table is that of the analysis, sorts, filters, goes out as CSV, selects a head."""

import csv
import json
import re

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.head_table import DIGITS, measure_head_table
from ropediag.app.pages.heads import GROUPS, LISTS, SELECTED, list_columns, list_rows
from ropediag.app.view import Desk
from ropediag.app.wiring import resolve_selection
from tests.analysis.captures import EXAMPLE
from tests.analysis.ragged import FULL, LAYERS, NARROW, write_ragged
from tests.app.browsing import read_fields, wait_until

COLUMNS = [name for members in GROUPS.values() for name in members]


@pytest.fixture(scope="module")
def table():
    with open_capture(EXAMPLE) as capture:
        return measure_head_table(capture).load()


@pytest.fixture
def heads(page):
    """The page, its table filled."""
    page.goto("/heads?capture=example-8192.h5")
    page.wait_for_selector('.ag-row [col-id="far_mass"]')
    return page


def read_column(page, name: str) -> list[str]:
    """The cells of a column from top to bottom."""
    rows = page.locator(f'.ag-row:has([col-id="{name}"])').all()
    found = [(int(row.get_attribute("row-index")), row.locator(f'[col-id="{name}"]')) for row in rows]
    return [cell.inner_text() for _, cell in sorted(found, key=lambda each: each[0])]


def test_a_row_holds_the_numbers_of_its_head(table) -> None:
    rows = {(row["layer"], row["query_head"]): row for row in list_rows(table)}
    assert len(rows) == table.sizes["layer"] * table.sizes["query_head"]
    for (layer, head), row in rows.items():
        at = table.sel(layer=layer, query_head=head)
        for name in COLUMNS:
            assert row[name] == pytest.approx(at[name].item(), rel=10.0 ** (1 - DIGITS)), name
        for name in LISTS:
            assert row[name] == ", ".join(str(int(pair)) for pair in at[name].values)
        assert row["pick"] == {
            "layer": str(layer), "query_head": str(head), "pair": str(int(at.drift_pair))
        }  # fmt: skip


def test_every_column_says_what_it_is(table) -> None:
    columns = [column for group in list_columns(table)[1:] for column in group["children"]]
    assert {column["field"] for column in columns} == set(table.data_vars) - {"tested_pairs"}
    assert all(len(column["headerTooltip"]) > 8 for column in columns)


def test_what_an_unfinished_capture_does_not_know_is_empty(tmp_path) -> None:
    with open_capture(write_ragged(tmp_path / "run.h5")) as capture:
        rows = list_rows(measure_head_table(capture).load())
    coming = [row for row in rows if row["layer"] == LAYERS[-1]]
    assert all(row.get(name) is None for row in coming for name in COLUMNS)
    assert all(set(row["pick"]) == {"layer", "query_head"} for row in coming)
    assert "NaN" not in json.dumps(rows)


def test_a_thousand_heads_are_less_than_half_a_megabyte(table) -> None:
    rows = list_rows(table)
    assert len(json.dumps(rows)) / len(rows) * 1024 < 450_000


def test_the_table_sorts_by_a_column(heads, table) -> None:
    heads.locator('.ag-header-cell[col-id="drift"] .ag-header-cell-text').click()
    heads.wait_for_selector('.ag-header-cell[col-id="drift"][aria-sort="ascending"]')
    shown = [float(text) for text in read_column(heads, "drift")]
    assert len(shown) == 8
    assert shown == sorted(shown)
    assert shown[-1] == pytest.approx(float(table.drift.max()), rel=1e-2)


def test_a_row_is_named_by_its_layer_and_head(heads, table) -> None:
    names = [row.get_attribute("row-id") for row in heads.locator('.ag-row:has([col-id="drift"])').all()]
    assert sorted(names) == sorted(
        f"{layer}.{head}" for layer in table.layer.values for head in table.query_head.values
    )


def test_the_table_filters_by_a_column(heads) -> None:
    heads.locator('.ag-header-cell[col-id="layer"] .ag-header-cell-filter-button').click()
    heads.locator(".ag-filter input[type=number], .ag-filter .ag-number-field-input").first.fill("3")
    wait_until(heads, "document.querySelectorAll('.ag-center-cols-container .ag-row').length === 2")
    assert read_column(heads, "layer") == ["3", "3"]


def test_a_row_selects_its_head_and_a_link_leads_to_its_pair(heads, table) -> None:
    row = heads.locator('.ag-center-cols-container .ag-row[row-id="2.1"]')
    row.locator('[col-id="entropy_past"]').click()
    heads.wait_for_url(re.compile("layer=2"))
    pair = str(int(table.drift_pair.sel(layer=2, query_head=1)))
    fields = read_fields(heads)
    assert (fields["layer"], fields["query_head"], fields["pair"]) == ("2", "1", pair)
    heads.get_by_text("Layer 2, head 1").wait_for()
    heads.get_by_role("link", name=f"See pair {pair} of this head").click()
    heads.wait_for_url(re.compile("/pairs"))
    fields = read_fields(heads)
    assert (fields["layer"], fields["query_head"], fields["pair"]) == ("2", "1", pair)


def test_the_table_goes_out_as_csv_exactly(heads, table) -> None:
    with heads.expect_download() as waiting:
        heads.get_by_role("button", name="CSV").click()
    assert waiting.value.suggested_filename == "heads.csv"
    rows = list(csv.DictReader(waiting.value.path().read_text().splitlines()))
    assert len(rows) == 8
    for row in rows:
        at = table.sel(layer=int(row["layer"]), query_head=int(row["query_head"]))
        for name, values in table.data_vars.items():
            for rank in range(values.sizes.get("rank", 0)):
                assert float(row[f"{name}_{rank}"]) == at[name].values[rank]
            if "rank" not in values.dims:
                assert np.array(row[name], values.dtype) == at[name].values


def test_pairs_are_counted_out_of_those_the_head_has(tmp_path) -> None:
    write_ragged(tmp_path / "run.h5", sequences=4)
    desk = Desk(tmp_path)
    for place, pairs in ((FULL, 2), (NARROW, 1)):  # without the one that made a full turn
        view = desk.view({"capture": "run.h5", "layer": str(LAYERS[place]), "query_head": "0", "pair": "0"})
        assert f"of {pairs}" in str(SELECTED.render(view))


def test_a_capture_without_training_length_says_what_to_do(tmp_path, chromium, serve) -> None:
    write_ragged(tmp_path / "unknown.h5", train_len=0, tune_len=0)
    desk = Desk(tmp_path)
    assert resolve_selection(desk, {})[0]["capture"] == "unknown.h5"
    tab = chromium.new_page()
    tab.goto(serve(tmp_path) + "/heads")
    tab.locator("#heads-message").get_by_text("set-training").wait_for()
    tab.close()
