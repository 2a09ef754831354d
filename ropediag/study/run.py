"""Run a study: every cell that is not finished, then the table, the fitted law and its picture."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

from ropediag.analysis.law import LawFit, fit_law
from ropediag.errors import ConfigError, RopediagError
from ropediag.plots import SHOW_CONFIG
from ropediag.plots.law import plot_law
from ropediag.study.cells import list_cells
from ropediag.study.config import StudyConfig
from ropediag.study.engines import run_cells
from ropediag.study.table import make_table
from ropediag.study.work import CellWork


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Attributes
    ----------
    table : one row a model, as ``make_table`` gives it
    law : fitted to the models above their critical base; None where fewer than three show a limit
    folder : holds ``table.csv``, ``table.h5`` and ``law.html``
    """

    table: xr.Dataset
    law: LawFit | None
    folder: Path


def run_study(
    config: StudyConfig, folder: Path, engine: str = "local", say: Callable[[str], None] = print
) -> StudyResult:
    """Make and measure the models of a study; go on where an earlier run stopped.

    Parameters
    ----------
    config : the study
    folder : for models, measurements and results; on a cluster one that all machines see
    engine : ``local`` or ``ray``
    say : receives a line for each finished cell

    Raises
    ------
    ConfigError
        If the folder holds another study, or the engine is not there.
    RopediagError
        If cells failed, naming the first; those that finished stay finished.
    """
    if engine == "ray":
        folder = folder.absolute()  # its tasks start elsewhere
    config = replace(config, parents=tuple(_absolute(parent) for parent in config.parents))
    _claim(folder, config)
    work = CellWork(config, folder)
    cells = list_cells(config)
    waiting = [cell for cell in cells if not work.is_finished(cell)]
    say(f"{config.name}: {len(cells)} cells, {len(cells) - len(waiting)} of them finished before")
    failures = []
    for count, (cell, error) in enumerate(run_cells(engine, work, waiting, config.resources or {}), 1):
        say(f"{count} of {len(waiting)}: {cell.name}" + (f" failed: {error}" if error else ""))
        if error:
            failures.append((cell, error))
    if failures:
        cell, error = failures[0]
        raise RopediagError(f"{len(failures)} of {len(waiting)} cells failed, first {cell.name}: {error}")
    return _write_results(make_table({cell: work.evaluation(cell) for cell in cells}), folder)


def fit_table(table: xr.Dataset) -> LawFit | None:
    """Fit the law to the tuned models above their critical base that show both limits.

    Seeds of one model count as one, with the geometric mean of their limits: they share what the law
    gets wrong, so taking them as independent would make the interval too narrow.
    """
    chosen = table.tuned & table.past_critical_base & np.isfinite(table.predicted + table.measured)
    rows = table[["base", "tune_len", "predicted", "measured"]].where(chosen, drop=True).to_dataframe()
    models = np.log(rows).groupby(["predicted", "base", "tune_len"]).measured.mean().reset_index()
    if models.predicted.nunique() < 3:
        return None
    return fit_law(np.exp(models.predicted.to_numpy()), np.exp(models.measured.to_numpy()))


def _write_results(table: xr.Dataset, folder: Path) -> StudyResult:
    law = fit_table(table)
    table.attrs |= {"kind": "study"} | ({} if law is None else {"law": json.dumps(asdict(law))})
    rows = table.drop_dims(["position", "multiple"]).to_dataframe()
    rows.round(4).to_csv(folder / "table.csv")
    flags = {name: table[name].astype("i1") for name in table if table[name].dtype == bool}
    table.assign(flags).to_netcdf(folder / "table.h5", engine="h5netcdf")
    if law is not None:
        plot_law(table).write_html(folder / "law.html", config=SHOW_CONFIG)
    return StudyResult(table, law, folder)


def _absolute(parent: str) -> str:
    """A local checkpoint's absolute path; a hub id and ``demo`` as they are."""
    return str(Path(parent).resolve()) if Path(parent).is_dir() else parent


def _claim(folder: Path, config: StudyConfig) -> None:
    """Record what the cells in a folder have in common, or refuse a folder with other cells in it."""
    path = folder / "study.json"
    shared = json.dumps({"tune": asdict(config.tune), "evaluate": asdict(config.evaluate)}, default=str)
    if path.exists() and path.read_text(encoding="utf-8") != shared:
        raise ConfigError(
            f"{folder} holds cells tuned or evaluated otherwise than {config.name} asks for. Name another "
            "folder with --out."
        )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(shared, encoding="utf-8")
