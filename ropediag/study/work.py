"""The work of one cell: make the model, measure it, each step once, whatever was interrupted before."""

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ropediag.capture import capture_checkpoint
from ropediag.evaluate.run import evaluate_checkpoint
from ropediag.store.disk import publish_alone
from ropediag.store.folder import Folder
from ropediag.study.cells import Cell, cell_folder, find_parent, plan_tuning
from ropediag.study.config import StudyConfig
from ropediag.study.plan import plan_capture, plan_evaluation
from ropediag.study.sections import Pretraining
from ropediag.tune.metadata import METADATA_NAME
from ropediag.tune.pretrain import pretrain_model
from ropediag.tune.sharded import tune_sharded
from ropediag.tune.tune import tune_model


@dataclass(frozen=True)
class CellWork:
    """Makes and measures cells in the folder of a study: ``FOLDER/cells/NAME/``.

    A cell is finished when its ``evaluation.h5`` is there, its ``capture.h5`` if the study captures, and the
    ``ropediag.json`` of a parent that the study pretrains: each is written last.
    """

    config: StudyConfig
    folder: Path

    def __call__(self, cell: Cell) -> None:
        """Make and measure a cell, whatever of it is not there yet."""
        if self.is_finished(cell):
            return
        with self._count_cost(cell):
            self._make_and_measure(cell)

    def _make_and_measure(self, cell: Cell) -> None:
        self._make(cell)
        if not self.evaluation(cell).exists():
            evaluate_checkpoint(plan_evaluation(cell, self.config, self.folder))
        capture = plan_capture(cell, self.config, self.folder)
        if capture is not None and not self._is_captured(cell):
            capture_checkpoint(capture)

    def cpu_seconds(self, cell: Cell) -> float:
        """Processor time that the cell took, in all runs of it that ended well; NaN where none did."""
        path = self._cost(cell)
        return (
            float(json.loads(path.read_text(encoding="utf-8"))["cpu_seconds"]) if path.exists() else math.nan
        )

    @contextmanager
    def _count_cost(self, cell: Cell) -> Iterator[None]:
        """Add the processor time of a block, with that of its child processes, to what the cell has cost."""
        before, begun = self.cpu_seconds(cell), sum(os.times()[:4])
        yield
        spent = sum(os.times()[:4]) - begun
        total = spent if math.isnan(before) else before + spent
        publish_alone(self._cost(cell), json.dumps({"cpu_seconds": round(total, 2)}))

    def _cost(self, cell: Cell) -> Path:
        return cell_folder(cell, self.folder) / "cost.json"

    def evaluation(self, cell: Cell) -> Path:
        """Where the cell's measurements lie."""
        return cell_folder(cell, self.folder) / "evaluation.h5"

    def capture(self, cell: Cell) -> Path:
        """Where the cell's capture lies, if the study captures."""
        return cell_folder(cell, self.folder) / "capture.h5"

    def is_finished(self, cell: Cell) -> bool:
        """Whether all that the study asks of the cell is there."""
        captured = self.config.capture is None or self._is_captured(cell)
        return self.evaluation(cell).exists() and captured and self.has_parent(cell)

    def has_parent(self, cell: Cell) -> bool:
        """Whether the cell's parent is there, or is none that the study makes."""
        parent = find_parent(cell, self.config)
        return not isinstance(parent, Pretraining) or _is_made(parent.plan(self.folder).out)

    def _is_captured(self, cell: Cell) -> bool:
        """Whether the capture is there and the folder it grew in is gone, which is removed last."""
        path = self.capture(cell)
        return path.exists() and not Folder.beside(path).path.exists()

    def _make(self, cell: Cell) -> None:
        """Pretrain the cell's own model if it is a parent, make it from one if not, unless done before."""
        tuning = plan_tuning(cell, self.config, self.folder)
        parent = find_parent(cell, self.config)
        if tuning is not None and not _is_made(tuning.out):
            shutil.rmtree(tuning.out, ignore_errors=True)
            (tune_sharded if tuning.fsdp else tune_model)(tuning, say=lambda line: None)
        elif tuning is None and isinstance(parent, Pretraining) and not self.has_parent(cell):
            pretrain_model(parent.plan(self.folder), say=lambda line: None)


def _is_made(model: Path) -> bool:
    return (model / METADATA_NAME).exists()
