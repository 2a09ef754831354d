"""The work of one cell: tune the model, measure it, each step once, whatever was interrupted before."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from ropediag.evaluate.config import EvaluateConfig
from ropediag.evaluate.run import evaluate_checkpoint
from ropediag.models.load import load_config
from ropediag.prediction import predict
from ropediag.study.cells import Cell
from ropediag.study.config import StudyConfig
from ropediag.tune.metadata import METADATA_NAME
from ropediag.tune.tune import tune_model
from ropediag.tune.tune_config import TuneConfig

LENGTH_STEP = 256  # evaluation lengths are multiples of it, tokens


@dataclass(frozen=True)
class CellWork:
    """Makes and measures cells in the folder of a study: ``FOLDER/cells/NAME/``.

    A cell is finished when its ``evaluation.h5`` is there, and its model when ``ropediag.json`` is:
    both are written last.
    """

    config: StudyConfig
    folder: Path

    def __call__(self, cell: Cell) -> None:
        if self.is_finished(cell):
            return
        model = cell.parent if cell.base is None else str(self._tune(cell))
        evaluate_checkpoint(
            EvaluateConfig(
                model=model,
                length=self.length(model),
                out=self.evaluation(cell),
                sequences=self.config.evaluate.sequences,
                text=self.config.evaluate.text,
                parent=None if cell.base is None else cell.parent,
                force=True,
            )
        )

    def evaluation(self, cell: Cell) -> Path:
        """Where the cell's measurements lie."""
        return self.folder / "cells" / cell.name / "evaluation.h5"

    def is_finished(self, cell: Cell) -> bool:
        return self.evaluation(cell).exists()

    def length(self, model: str) -> int:
        """Tokens to measure at: ``reach`` times the predicted limit, and at least ``least``."""
        wanted = self.config.evaluate.least
        directory = load_config(model)[1]
        limit = None if directory is None else predict(directory).limit
        if limit is not None:
            wanted = max(wanted, math.ceil(self.config.evaluate.reach * limit))
        return math.ceil(wanted / LENGTH_STEP) * LENGTH_STEP

    def _tune(self, cell: Cell) -> Path:
        """Tune the cell's model unless that was done before."""
        out = self.folder / "cells" / cell.name / "model"
        if (out / METADATA_NAME).exists():
            return out
        shutil.rmtree(out, ignore_errors=True)
        tune = self.config.tune
        return tune_model(
            TuneConfig(
                model=cell.parent,
                out=out,
                base=cell.base,
                length=cell.tune_len,
                text=tune.text,
                steps=tune.steps,
                batch=max(1, tune.tokens // int(cell.tune_len or 1)),
                lr=tune.lr,
                seed=cell.seed,
            ),
            say=lambda line: None,
        )
