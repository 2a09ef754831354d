"""What a study costs: the command, the memory and the time of each step, from configurations alone.

Times are operations over half the speed of matrix products, which is about what tuning and evaluating the
bundled model reach; the statistics of a capture were compared with the clock on CPUs alone. Memory is that
of one device.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropediag.capture.estimate import capture_bytes
from ropediag.config import CaptureConfig
from ropediag.evaluate.config import EvaluateConfig
from ropediag.evaluate.memory import evaluation_bytes
from ropediag.evaluate.retrieval import DEPTHS, recall_lengths
from ropediag.models.economy import CHUNK
from ropediag.models.memory import empty_model, weight_bytes
from ropediag.models.speed import forward_operations
from ropediag.study.cells import Cell, find_parent, list_cells, plan_tuning
from ropediag.study.config import StudyConfig
from ropediag.study.plan import CellModel, describe_cell, plan_capture, plan_evaluation
from ropediag.study.sections import Pretraining
from ropediag.tune.config import PretrainConfig, write_command
from ropediag.tune.memory import training_bytes
from ropediag.tune.tokenizer import VOCABULARY
from ropediag.tune.tune_config import TuneConfig

BACKWARD = 2  # passes forward that a pass backward takes
REACHED = 0.5  # share of the speed of matrix products that a step reaches
TRANSFORM = 1500  # operations that take as long as the moments of a channel, over length x log2(length)


@dataclass(frozen=True)
class Step:
    """One step of a cell.

    Attributes
    ----------
    cell : its name
    kind : pretrain, tune, evaluate or capture
    command : what does it by hand
    operations : floating-point operations, on all devices together
    memory : bytes of the fullest device
    devices : that share the work
    """

    cell: str
    kind: str
    command: str
    operations: float
    memory: int
    devices: int = 1

    def seconds(self, speed: float) -> float:
        """Wall time on devices that do ``speed`` operations a second when they multiply matrices."""
        return self.operations / (REACHED * speed * self.devices)


def estimate_study(study: StudyConfig, folder: Path) -> Iterator[Step]:
    """Work out each step of each cell.

    Raises
    ------
    ConfigError, ModelError
        If a setting cannot be used, or a parent's configuration cannot be read.
    """
    for cell in list_cells(study):
        described = describe_cell(cell, study, folder)
        parent = find_parent(cell, study)
        tuning = plan_tuning(cell, study, folder)
        if tuning is not None:
            yield _tune(cell, described, tuning, _devices(study))
        elif isinstance(parent, Pretraining):
            yield _pretrain(cell, described, parent.plan(folder))
        dtype = study.tune.dtype if tuning is not None else _own_dtype(described.config)
        model = empty_model(described.config, dtype)
        yield _evaluate(cell, model, described, plan_evaluation(cell, study, folder))
        capture = plan_capture(cell, study, folder)
        if capture is not None:
            yield _capture(cell, model, described, capture)


def _pretrain(cell: Cell, described: CellModel, run: PretrainConfig) -> Step:
    model = empty_model(described.config, "float32")
    operations = (1 + BACKWARD) * forward_operations(model, run.steps * run.batch, run.length)
    return Step(
        cell.name, "pretrain", run.command_line(), operations, training_bytes(model, run.batch * run.length)
    )


def _tune(cell: Cell, described: CellModel, run: TuneConfig, devices: int) -> Step:
    model, length = empty_model(described.config, run.dtype), described.training.tune_len
    passes = 1 + BACKWARD + run.gradient_checkpointing
    operations = passes * forward_operations(model, run.steps * run.batch, length)
    shards = devices if run.fsdp else 1
    tokens = -(-run.batch // (run.accumulate * shards)) * length
    memory = training_bytes(model, tokens, run.gradient_checkpointing, bool(run.lora), shards)
    command = run.command_line()
    if run.fsdp:
        command = f'torchrun --standalone --nproc-per-node {devices} "$(command -v ropediag)" ' + command[9:]
    return Step(cell.name, "tune", command, operations, memory, shards)


def _evaluate(cell: Cell, model: Any, described: CellModel, run: EvaluateConfig) -> Step:
    """One pass of the model and of its parent, their windowed losses, and the prompts of recall."""
    window = described.training.train_len
    passes, windowed = (1, 3) if run.parent is None else (2, 4)
    operations = passes * forward_operations(model, run.sequences, run.length)
    operations += windowed * _windowed_operations(model, run.sequences, run.length, window)
    tasks = 1 if described.config.vocab_size == VOCABULARY else 2
    for length in recall_lengths(window, run.length):
        operations += forward_operations(model, tasks * len(DEPTHS) * run.trials, length)
    models = 1 if run.parent is None else 2
    memory = models * weight_bytes(model) + evaluation_bytes(model, run)
    return Step(cell.name, "evaluate", write_command("evaluate", run, length="len"), operations, memory)


def _capture(cell: Cell, model: Any, described: CellModel, run: CaptureConfig) -> Step:
    """One pass with the exact moments of all layers, and a windowed loss."""
    part, window = described.config, described.training.train_len
    head_dim = getattr(part, "head_dim", None) or part.hidden_size // part.num_attention_heads
    heads = part.num_attention_heads, getattr(part, "num_key_value_heads", None) or part.num_attention_heads
    operations = forward_operations(model, run.sequences, run.length)
    operations += _windowed_operations(model, run.sequences, run.length, window)
    channels = part.num_hidden_layers * heads[0] * head_dim
    operations += TRANSFORM * run.sequences * run.length * math.log2(run.length) * channels
    chunk = run.chunk or max(CHUNK.values())
    memory = weight_bytes(model) + capture_bytes(model, run.length, window, head_dim, *heads, chunk, True)
    return Step(cell.name, "capture", write_command("capture", run, length="len"), operations, memory)


def _windowed_operations(model: Any, sequences: int, length: int, window: int) -> float:
    """Windows half a window apart hold every token twice."""
    return 2 * length / window * forward_operations(model, sequences, min(window, length))


def _devices(study: StudyConfig) -> int:
    return max(1, int((study.resources or {}).get("num_gpus", 1)))


def _own_dtype(config: Any) -> str:
    return str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
