"""The work of one cell: tune the model, measure it, each step once, whatever was interrupted before."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from ropediag.evaluate.config import EvaluateConfig
from ropediag.evaluate.run import evaluate_checkpoint
from ropediag.models.load import load_config
from ropediag.prediction import predict
from ropediag.study.cells import Cell, cell_folder, plan_tuning
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
        tuning = plan_tuning(cell, self.config, self.folder)
        model = cell.parent if tuning is None else self._tune(tuning)
        evaluate_checkpoint(
            EvaluateConfig(
                model=model,
                length=self.length(model),
                out=self.evaluation(cell),
                sequences=self.config.evaluate.sequences,
                text=self.config.evaluate.text,
                parent=None if tuning is None else cell.parent,
                force=True,
            )
        )

    def evaluation(self, cell: Cell) -> Path:
        """Where the cell's measurements lie."""
        return cell_folder(cell, self.folder) / "evaluation.h5"

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

    def _tune(self, tuning: TuneConfig) -> str:
        """Tune a model unless that was done before."""
        if not (tuning.out / METADATA_NAME).exists():
            shutil.rmtree(tuning.out, ignore_errors=True)
            tune_model(tuning, say=lambda line: None)
        return str(tuning.out)
