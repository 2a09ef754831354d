"""Run a study: every cell that is not finished, then the table, the fitted law and its picture."""

import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import xarray as xr

from ropediag import schema
from ropediag.analysis.law import LawFit, fit_law
from ropediag.errors import RopediagError
from ropediag.plots import SHOW_CONFIG
from ropediag.plots.law import plot_law
from ropediag.store.disk import publish_alone
from ropediag.store.seal import seal_of
from ropediag.study.cells import Cell, list_cells, plan_tuning
from ropediag.study.claim import claim_folder
from ropediag.study.config import StudyConfig
from ropediag.study.engines import Finished, run_cells
from ropediag.study.sections import Checkpoint, Parent, Pretraining
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
    work = CellWork(config, folder)
    cells = list_cells(config)
    for cell in cells:
        plan_tuning(cell, config, folder)  # a bad value stops here
    claim_folder(folder, config, [cell for cell in cells if work.evaluation(cell).exists()], cells)
    waiting = [cell for cell in cells if not work.is_finished(cell)]
    say(f"{config.name}: {len(cells)} cells, {len(cells) - len(waiting)} of them finished before")
    failures = []
    for count, (cell, error) in enumerate(_run_waiting(engine, work, waiting), 1):
        say(f"{count} of {len(waiting)}: {cell.name}" + (f" failed: {error}" if error else ""))
        if error:
            failures.append((cell, error))
    if failures:
        cell, error = failures[0]
        raise RopediagError(f"{len(failures)} of {len(waiting)} cells failed, first {cell.name}: {error}")
    captures = {cell: work.capture(cell) for cell in cells} if config.capture else None
    table = make_table({cell: work.evaluation(cell) for cell in cells}, captures)
    costs = {
        "units": "s",
        "long_name": "processor time that the model took: training, evaluation and capture",
    }
    table["cpu_seconds"] = ("model", [work.cpu_seconds(cell) for cell in cells], costs)
    return _write_results(table, folder)


def _run_waiting(engine: str, work: CellWork, waiting: list[Cell]) -> Finished:
    """Run the cells, those whose model others are made from before the others."""
    resources = work.config.resources or {}
    first = [cell for cell in waiting if cell.is_parent and not work.has_parent(cell)]
    yield from run_cells(engine, work, first, resources)
    rest = [cell for cell in waiting if cell not in first]
    yield from run_cells(engine, work, [cell for cell in rest if work.has_parent(cell)], resources)
    for cell in rest:
        if not work.has_parent(cell):
            yield cell, RopediagError(f"its parent {cell.parent} could not be made.")


def fit_table(table: xr.Dataset) -> LawFit | None:
    """Fit the law to the tuned models above their critical base that show both limits.

    Seeds of one model count as one, with the geometric mean of their limits: they share what the law
    gets wrong, so taking them as independent would make the interval too narrow. Models tuned with a
    scaling rule have no base above the critical one, and stay out.
    """
    chosen = table.tuned & table.past_critical_base & np.isfinite(table.predicted + table.measured)
    names = ["base", "tune_len", *(["parent"] if "parent" in table else []), "predicted", "measured"]
    rows = table[names].isel(model=np.flatnonzero(chosen)).to_dataframe()
    models = np.log(rows[["predicted", "measured"]]).assign(**rows[names[:-2]])
    models = models.groupby(names[:-1]).measured.mean().reset_index()
    if models.predicted.nunique() < 3:
        return None
    return fit_law(np.exp(models.predicted.to_numpy()), np.exp(models.measured.to_numpy()))


def _write_results(table: xr.Dataset, folder: Path) -> StudyResult:
    law = fit_table(table)
    versions = {"schema_version": schema.VERSION, "ropediag_version": version("ropediag")}
    table.attrs |= {"kind": "study", **versions} | ({} if law is None else {"law": json.dumps(asdict(law))})
    rows = table.drop_dims(["position", "multiple", "pair"], errors="ignore").to_dataframe()
    publish_alone(folder / "table.csv", rows.round(4).to_csv())
    flags = {name: table[name].astype("i1") for name in table if table[name].dtype == bool}
    image = bytes(table.assign(flags).to_netcdf(engine="h5netcdf"))
    publish_alone(folder / "table.h5", image + seal_of(io.BytesIO(image)))
    if law is not None:
        publish_alone(folder / "law.html", plot_law(table).to_html(config=SHOW_CONFIG))
    return StudyResult(table, law, folder)


def _absolute(parent: Parent) -> Parent:
    """A local checkpoint with its absolute path; a hub id and ``demo`` as they are."""
    if isinstance(parent, Pretraining):
        return parent
    if isinstance(parent, Checkpoint):
        return replace(parent, model=_absolute_path(parent.model))
    return _absolute_path(parent)


def _absolute_path(model: str) -> str:
    return str(Path(model).resolve()) if Path(model).is_dir() else model
