"""What is done with each cell: its evaluation and its capture, worked out before its model is there.

A cell's model is known by its configuration and its training; both follow from its parent's and from the
study, so lengths and commands are the same before and after the tuning.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropediag.checkpoint import TrainingFlags, read_checkpoint, resolve_training
from ropediag.config import CaptureConfig
from ropediag.config_class import list_entries
from ropediag.evaluate.config import EvaluateConfig
from ropediag.models.load import load_config
from ropediag.prediction import predict_training
from ropediag.study.cells import Cell, cell_folder, find_parent, parent_model, plan_tuning
from ropediag.study.config import StudyConfig
from ropediag.study.sections import Checkpoint, Pretraining
from ropediag.theory.phases import TrainingHistory
from ropediag.tune.rope_change import plan_change
from ropediag.tune.shapes import make_config

LENGTH_STEP = 256  # lengths that follow from a limit are multiples of it, tokens


@dataclass(frozen=True, eq=False)
class CellModel:
    """A cell's model before its weights: transformers configuration, and what the laws need."""

    config: Any
    training: TrainingHistory


def describe_cell(cell: Cell, study: StudyConfig, folder: Path) -> CellModel:
    """Work out configuration and training of a cell's model.

    Raises
    ------
    ConfigError, ModelError
        If there is no parent, nothing states its training, or its RoPE cannot be changed.
    """
    parent = find_parent(cell, study)
    if isinstance(parent, Pretraining):
        config, base, length = make_config(parent.run), parent.run.base, parent.run.length
        metadata: dict[str, Any] = {"pretrain_base": base, "train_len": length, "tune_len": length}
    else:
        config, directory = load_config(cell.parent)
        metadata = read_checkpoint(directory)[1] if directory else {}
    tuning = plan_tuning(cell, study, folder)
    if tuning is not None:
        change = plan_change(config, metadata, tuning)
        return CellModel(change.config, change.training)
    flags = TrainingFlags(**_stated(cell, study))
    return CellModel(config, resolve_training(flags, metadata, list_entries(config)))


def plan_evaluation(cell: Cell, study: StudyConfig, folder: Path) -> EvaluateConfig:
    """Work out how a cell's model is evaluated."""
    evaluate, parent = study.evaluate, parent_model(cell, study, folder)
    length = cell.evaluate_at
    if length is None:
        model = describe_cell(cell, study, folder)
        length = _round(max(evaluate.least, evaluate.reach * _expect_limit(model)))
    return EvaluateConfig(
        model=_model_path(cell, study, folder),
        length=length,
        out=cell_folder(cell, folder) / "evaluation.h5",
        text=_measured_text(cell, study),
        sequences=evaluate.sequences,
        parent=None if cell.is_parent else parent,
        trials=evaluate.trials,
        force=True,
        **_stated(cell, study),
    )


def plan_capture(cell: Cell, study: StudyConfig, folder: Path) -> CaptureConfig | None:
    """Work out how a cell's model is captured; None where the study does not capture."""
    capture = study.capture
    if capture is None:
        return None
    length = capture.length
    if length is None:
        model = describe_cell(cell, study, folder)
        length = _round((capture.reach or 1) * _expect_limit(model))
    return CaptureConfig(
        model=_model_path(cell, study, folder),
        length=length,
        out=cell_folder(cell, folder) / "capture.h5",
        text=_measured_text(cell, study),
        sequences=capture.sequences,
        rows=capture.rows,
        resume=True,
        **_stated(cell, study),
    )


def _expect_limit(model: CellModel) -> float:
    """The law's limit, tokens; where it sets none, the longest sequence of training."""
    found = predict_training(list_entries(model.config), model.training).predicted_limit().value
    return found or model.training.trained


def _measured_text(cell: Cell, study: StudyConfig) -> tuple[Path, ...]:
    """The text that a cell is measured on: its parent's held-out one, if it has its own."""
    parent = find_parent(cell, study)
    return (parent.heldout if isinstance(parent, Pretraining) else ()) or study.evaluate.text


def _model_path(cell: Cell, study: StudyConfig, folder: Path) -> str:
    made = str(cell_folder(cell, folder) / "model")
    return parent_model(cell, study, folder) if cell.is_parent else made


def _round(tokens: float) -> int:
    return math.ceil(tokens / LENGTH_STEP) * LENGTH_STEP


def _stated(cell: Cell, study: StudyConfig) -> dict[str, Any]:
    """What the study says of a parent's pretraining; a model that it makes says it itself."""
    parent = find_parent(cell, study)
    if not cell.is_parent or not isinstance(parent, Checkpoint):
        return {}
    return {"train_len": parent.train_len, "pretrain_base": parent.pretrain_base}
