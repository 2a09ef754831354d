"""Every diagnostic of a capture as CSV tables: one for each set of axes that its variables share."""

from pathlib import Path
from typing import TYPE_CHECKING

from ropediag.analysis.diagnostic import list_diagnostics
from ropediag.errors import CaptureError, ConfigError
from ropediag.store import Capture

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def write_tables(capture: Capture, folder: Path) -> list[Path]:
    """Write ``DIAGNOSTIC.csv``, or ``DIAGNOSTIC-AXES.csv`` where its variables have different axes.

    A diagnostic that needs what the capture does not hold is left out.

    Raises
    ------
    ConfigError
        If the folder cannot be written to.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, diagnostic in list_diagnostics().items():
            try:
                measured = diagnostic(capture).load()
            except CaptureError:
                continue
            for ending, table in split_by_axes(measured).items():
                path = folder / f"{name}{ending}.csv"
                table.to_csv(path)
                written.append(path)
    except OSError as error:
        raise ConfigError(
            f"cannot write tables to {folder}: {error.strerror}. Name another folder."
        ) from error
    return written


def split_by_axes(measured: "xr.Dataset") -> dict[str, "pd.DataFrame"]:
    """Give a table for each set of axes, by the ending of its file; a single one has no ending."""
    by_axes: dict[tuple[str, ...], list[str]] = {}
    for variable, array in measured.data_vars.items():
        by_axes.setdefault(tuple(map(str, array.dims)), []).append(str(variable))
    tables = {}
    for axes, variables in by_axes.items():
        chosen = measured[variables] if axes else measured[variables].expand_dims("model")
        ending = "" if len(by_axes) == 1 else "-" + ("-".join(axes) or "model")
        tables[ending] = chosen.to_dataframe()
    return tables
