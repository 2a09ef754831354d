"""CSV: a labelled Dataset as tables, one for all variables of the same axes."""

from pathlib import Path
from typing import TYPE_CHECKING

from ropediag.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr


def make_folder(folder: Path) -> Path:
    """Make a folder for tables, or take an existing one.

    Raises
    ------
    ConfigError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make the folder {folder}: {error.strerror}. Choose another one."
        ) from error
    return folder


def write_tables(found: "xr.Dataset", folder: Path, name: str) -> list[Path]:
    """Write NAME-AXIS-AXIS.csv for each combination of axes: one row a cell, a column for every variable.

    NAME-columns.csv holds the unit and the meaning of every column.
    """
    from ropediag.analysis.tables import list_columns, list_tables

    paths = []
    for axes, table in list_tables(found).items():
        path = folder / f"{'-'.join([name, *axes])}.csv"
        table.to_csv(path, index=False)
        paths.append(path)
    columns = folder / f"{name}-columns.csv"
    list_columns(found).to_csv(columns, index=False)
    return [*paths, columns]
