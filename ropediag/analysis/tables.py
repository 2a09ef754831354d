"""Tables: a labelled Dataset as flat tables, one for all variables of the same axes."""

from typing import TYPE_CHECKING

import xarray as xr

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with these a spreadsheet takes text for a formula

if TYPE_CHECKING:
    import pandas as pd


def list_tables(found: xr.Dataset) -> dict[tuple[str, ...], "pd.DataFrame"]:
    """Turn a Dataset into tables: one row a cell, a column for every axis and every variable.

    Returns
    -------
    axes -> table of the variables that have exactly these axes; single values are a table of one row.
        Text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    by_axes: dict[tuple[str, ...], list[str]] = {}
    for variable, values in found.data_vars.items():
        by_axes.setdefault(tuple(map(str, values.dims)), []).append(str(variable))
    tables = {}
    for axes, variables in by_axes.items():
        chosen = found[variables] if axes else found[variables].expand_dims("row")
        table = chosen.to_dataframe(dim_order=list(axes) or ["row"]).reset_index()
        tables[axes] = _guard(table if axes else table.drop(columns="row"))
    return tables


def list_columns(found: xr.Dataset) -> "pd.DataFrame":
    """List the columns of these tables: name, unit and meaning."""
    import pandas as pd

    rows = [
        (str(name), values.attrs.get("units", "1"), values.attrs.get("long_name", str(name)))
        for name, values in (*found.coords.items(), *found.data_vars.items())
    ]
    return _guard(pd.DataFrame(rows, columns=["column", "unit", "meaning"]))


def _guard(table: "pd.DataFrame") -> "pd.DataFrame":
    """Put an apostrophe before text that begins like a formula; numbers stay as they are."""
    text = [name for name, kind in table.dtypes.items() if kind.kind not in "biufc"]
    return table.assign(**{str(name): table[name].map(_guard_cell) for name in text})


def _guard_cell(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
