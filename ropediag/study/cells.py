"""The cells of a study: one model each, with the place where what it yields is kept."""

from dataclasses import dataclass
from pathlib import Path

from ropediag.study.config import StudyConfig
from ropediag.tune.tune_config import TuneConfig


@dataclass(frozen=True)
class Cell:
    """One model of a study.

    Attributes
    ----------
    parent : the pretrained model, as ``--model`` takes it
    base, tune_len : of the tuning; None for the parent itself
    seed : of the tuning
    """

    parent: str
    base: float | None = None
    tune_len: int | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """The cell's folder: parent, base, tuning length and seed."""
        parent = Path(self.parent).name
        return parent if self.base is None else f"{parent}-b{self.base:.10g}-t{self.tune_len}-s{self.seed}"


def list_cells(config: StudyConfig) -> list[Cell]:
    """List the cells, each parent before the models tuned from it, seed after seed; none twice."""
    cells = [Cell(parent) for parent in config.parents]
    for seed in range(config.seeds):
        for parent in config.parents:
            for grid in config.grid:
                cells += [Cell(parent, base, length, seed) for length in grid.lengths for base in grid.bases]
    return list(dict.fromkeys(cells))


def cell_folder(cell: Cell, folder: Path) -> Path:
    """Where a cell's model and measurements lie in the folder of its study."""
    return folder / "cells" / cell.name


def plan_tuning(cell: Cell, config: StudyConfig, folder: Path) -> TuneConfig | None:
    """Work out how a cell's model is tuned; None for the parent, which is not.

    Raises
    ------
    ConfigError
        If the settings of the study make no tuning run.
    """
    if cell.base is None or cell.tune_len is None:
        return None
    return TuneConfig(
        model=cell.parent,
        out=cell_folder(cell, folder) / "model",
        base=cell.base,
        length=cell.tune_len,
        text=config.tune.text,
        steps=config.tune.steps,
        batch=max(1, config.tune.tokens // cell.tune_len),
        lr=config.tune.lr,
        seed=cell.seed,
        force=True,  # an interrupted run may have left files there
    )
