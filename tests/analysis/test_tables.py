"""Tables: numbers stay numbers, text that a spreadsheet would run does not."""

import csv
import io

import numpy as np
import xarray as xr

from ropediag.analysis.tables import list_tables

NAMES = ["=1+2", "+a", "-b.h5", "@sum", "\tc", "plain=.h5", "é"]


def test_text_that_begins_like_a_formula_has_an_apostrophe_and_numbers_have_none() -> None:
    values = -np.arange(7.0)
    found = xr.Dataset({"drift": ("capture", values), "label": ("capture", NAMES[::-1])}, {"capture": NAMES})
    (table,) = list_tables(found).values()
    rows = list(csv.DictReader(io.StringIO(table.to_csv(index=False))))
    assert [row["capture"] for row in rows] == ["'=1+2", "'+a", "'-b.h5", "'@sum", "'\tc", "plain=.h5", "é"]
    assert [row["label"] for row in rows] == [row["capture"] for row in rows][::-1]
    assert [float(row["drift"]) for row in rows] == values.tolist()


def test_a_single_value_is_a_table_of_one_row() -> None:
    ((axes, table),) = list_tables(xr.Dataset({"limit": -2.5, "model": "=x"})).items()
    assert axes == ()
    assert table.to_dict("records") == [{"limit": -2.5, "model": "'=x"}]
