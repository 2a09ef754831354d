"""The cells of a study: one model each, with the place where what it yields is kept."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ropediag.errors import ConfigError
from ropediag.limits import critical_base_for_length
from ropediag.study.config import StudyConfig
from ropediag.study.sections import Checkpoint, Grid, Parent, Pretraining, parent_name
from ropediag.tune.tune_config import TuneConfig


@dataclass(frozen=True)
class Cell:
    """One model of a study.

    Attributes
    ----------
    parent : the pretrained model, as ``--model`` takes it, or the name of one that the study makes
    base, tune_len : of the tuning; None for a model that is not tuned, the base also with a scaling rule
    seed : of the tuning
    rule, factor : of the scaling rule; None without one. Without a tuning length nothing is trained under it
    evaluate_at : tokens to evaluate at; None where the study's ``evaluate`` section decides
    """

    parent: str
    base: float | None = None
    tune_len: int | None = None
    seed: int = 0
    rule: str | None = None
    factor: float | None = None
    evaluate_at: int | None = None

    @property
    def name(self) -> str:
        """The cell's folder: parent, base or scaling rule, tuning length and seed."""
        parent = Path(self.parent).name
        if self.is_parent:
            return parent
        change = f"b{self.base:.10g}" if self.rule is None else f"{self.rule}{self.factor:.10g}"
        if self.tune_len is None:
            return f"{parent}-{change}-untrained"
        return f"{parent}-{change}-t{self.tune_len}-s{self.seed}"

    @property
    def is_parent(self) -> bool:
        """Whether the model is the parent itself, unchanged."""
        return self.tune_len is None and self.rule is None


def list_cells(config: StudyConfig) -> list[Cell]:
    """List the cells, each parent before the models made from it, seed after seed; none twice.

    Raises
    ------
    ConfigError
        If two cells would have one name, or bases follow from a pretraining that is not stated.
    """
    cells = [Cell(_source(parent)) for parent in config.parents]
    for parent in config.parents:
        for grid in config.grid:
            cells += _untrained_cells(_source(parent), grid)
    for seed in range(config.seeds):
        for parent in config.parents:
            for grid in config.grid:
                cells += _tuned_cells(_source(parent), _resolve(grid, parent), seed)
    cells = list(dict.fromkeys(cells))
    name, count = Counter(cell.name for cell in cells).most_common(1)[0]
    if count > 1:
        raise ConfigError(
            f"study {config.name} asks for {name} more than once: a model has one evaluate_at, and no parent "
            "may be named as a model tuned from another."
        )
    return cells


def _tuned_cells(source: str, grid: Grid, seed: int) -> Iterator[Cell]:
    for length in grid.lengths:
        for base in grid.bases:
            yield Cell(source, base, length, seed, evaluate_at=grid.evaluate_at)
        for scaling in grid.scaling:
            yield Cell(source, None, length, seed, scaling.rule, scaling.factor, grid.evaluate_at)


def _untrained_cells(source: str, grid: Grid) -> Iterator[Cell]:
    for scaling in grid.untrained:
        yield Cell(source, rule=scaling.rule, factor=scaling.factor, evaluate_at=grid.evaluate_at)


def _resolve(grid: Grid, parent: Parent) -> Grid:
    """Find the bases that reach what a grid asks for from this parent, to three digits."""
    if not grid.reaches:
        return grid
    if isinstance(parent, Pretraining):
        base, length = parent.run.base, parent.run.length
    elif isinstance(parent, Checkpoint) and parent.pretrain_base and parent.train_len:
        base, length = parent.pretrain_base, parent.train_len
    else:
        raise ConfigError(
            f"reaches in a study's grid need to know the pretraining of {_source(parent)}: give it as "
            "a mapping with model, train_len and pretrain_base, or let the study pretrain it."
        )
    found = [critical_base_for_length(base, length, round(reach * length)) for reach in grid.reaches]
    bases = (*grid.bases, *(float(f"{each:.3g}") for each in found))
    return replace(grid, bases=bases, reaches=(), lengths=grid.lengths or (length,))


def _source(parent: Parent) -> str:
    if isinstance(parent, str):
        return parent
    return parent.model if isinstance(parent, Checkpoint) else parent.name


def find_parent(cell: Cell, config: StudyConfig) -> Parent:
    """The entry of the study's parents that a cell comes from."""
    return next(parent for parent in config.parents if parent_name(parent) == Path(cell.parent).name)


def parent_model(cell: Cell, config: StudyConfig, folder: Path) -> str:
    """A cell's parent as ``--model`` takes it: where the study makes it, in the study's folder."""
    parent = find_parent(cell, config)
    return str(parent.plan(folder).out) if isinstance(parent, Pretraining) else cell.parent


def cell_folder(cell: Cell, folder: Path) -> Path:
    """Where a cell's model and measurements lie in the folder of its study."""
    return folder / "cells" / cell.name


def plan_tuning(cell: Cell, config: StudyConfig, folder: Path) -> TuneConfig | None:
    """Work out how a cell's model is made from its parent, in no steps if untrained; None for a parent.

    Raises
    ------
    ConfigError
        If the settings of the study make no tuning run.
    """
    if cell.is_parent:
        return None
    tune, parent = config.tune, find_parent(cell, config)
    batch = tune.accumulate if cell.tune_len is None else max(1, tune.tokens // cell.tune_len)
    if batch % tune.accumulate:
        raise ConfigError(
            f"{cell.name}: {tune.tokens} tokens a step make {batch} windows of {cell.tune_len}, which cannot "
            f"be shared out over {tune.accumulate} backward passes. Change tokens or accumulate."
        )
    return TuneConfig(
        model=parent_model(cell, config, folder),
        out=cell_folder(cell, folder) / "model",
        base=cell.base,
        scaling=cell.rule,
        factor=cell.factor,
        length=cell.tune_len,
        text=tune.text or (parent.run.text if isinstance(parent, Pretraining) else ()),
        steps=0 if cell.tune_len is None else tune.steps,
        batch=batch,
        accumulate=tune.accumulate,
        lr=tune.lr,
        recall_share=tune.recall_share,
        seed=cell.seed,
        train_len=parent.train_len if isinstance(parent, Checkpoint) else None,
        pretrain_base=parent.pretrain_base if isinstance(parent, Checkpoint) else None,
        dtype=tune.dtype,
        gradient_checkpointing=tune.gradient_checkpointing,
        lora=tune.lora,
        fsdp=tune.fsdp and cell.tune_len is not None,
        force=True,  # an interrupted run may have left files there
    )
