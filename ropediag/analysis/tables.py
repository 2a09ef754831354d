"""Tables: a labelled Dataset as flat tables, one for all variables of the same axes."""

from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:
    import pandas as pd


def list_tables(found: xr.Dataset) -> dict[tuple[str, ...], "pd.DataFrame"]:
    """Turn a Dataset into tables: one row a cell, a column for every axis and every variable.

    Returns
    -------
    axes -> table of the variables that have exactly these axes; single values are a table of one row
    """
    by_axes: dict[tuple[str, ...], list[str]] = {}
    for variable, values in found.data_vars.items():
        by_axes.setdefault(tuple(map(str, values.dims)), []).append(str(variable))
    tables = {}
    for axes, variables in by_axes.items():
        chosen = found[variables] if axes else found[variables].expand_dims("row")
        table = chosen.to_dataframe(dim_order=list(axes) or ["row"]).reset_index()
        tables[axes] = table if axes else table.drop(columns="row")
    return tables
