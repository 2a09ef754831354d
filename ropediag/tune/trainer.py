"""The Trainer run that pretraining and tuning share: recipe, progress, checkpoints to go on from.

Optimiser, precision, accumulation and distribution over processes (``torchrun``, ``accelerate launch``)
are the Hugging Face Trainer's. Batches are global: each process takes its share.
"""

import atexit
import json
import math
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from ropediag.errors import CaptureError, ConfigError
from ropediag.models.compute_type import training_type
from ropediag.store.disk import free_space, publish_alone, says_full
from ropediag.tune.progress import TrainingProgress

UNFINISHED = "unfinished"  # folder for the Trainer's own checkpoints while a run lasts


@dataclass(frozen=True)
class Recipe:
    """How to optimise.

    Attributes
    ----------
    steps, batch : optimiser steps, and windows a step, over all processes
    lr, warmup_steps : highest learning rate and the steps up to it; then a cosine down to 5 %
    seed : of the order of the windows
    accumulate : backward passes that make up one step
    gradient_checkpointing : compute activations twice instead of keeping them
    fsdp : shard weights, gradients and optimiser over the processes, which must be on GPUs
    save_every : steps between checkpoints to go on from; None for none
    report_to : where the Trainer logs to as well, by its own names
    """

    steps: int
    batch: int
    lr: float
    warmup_steps: int
    seed: int
    accumulate: int = 1
    gradient_checkpointing: bool = False
    fsdp: bool = False
    save_every: int | None = None
    report_to: tuple[str, ...] = ()


def run_trainer(
    model: Any,
    windows: Dataset,
    recipe: Recipe,
    out: Path,
    say: Callable[[str], None],
    resume: bool = False,
    settings: Any = None,
    callbacks: tuple[TrainerCallback, ...] = (),
) -> tuple[Any, list[tuple[int, float]]]:
    """Train a model.

    Parameters
    ----------
    model : a transformers causal language model
    windows : items ``{"input_ids", "labels"}``, a pure function of their index
    recipe : how
    out : the final checkpoint's folder; checkpoints to go on from lie in ``out/unfinished``
    say : receives progress, a line at a time, where there is no terminal
    resume : go on from the newest whole checkpoint, or begin if there is none
    settings : JSON-able; a run that goes on must have been begun with the same

    Returns
    -------
    model : the same, trained in place; of a sharded run the whole of it on the CPU, on the first process only
    losses : (step, nats per token), as logged

    Raises
    ------
    ConfigError
        If the batch cannot be shared out, FSDP would not really run, or other settings began the run.
    """
    unfinished = out / UNFINISHED
    if recipe.save_every:
        _record_settings(unfinished, settings, resume)
    if not torch.distributed.is_initialized():
        atexit.register(_leave)
    trainer = Trainer(model=model, args=_arguments(recipe, unfinished), train_dataset=windows)
    _check_sharding(recipe, trainer)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    for reporter in trainer.callback_handler.callbacks:
        if isinstance(reporter, TensorBoardCallback) and reporter.logging_dir is None:
            reporter.logging_dir = str(out / "runs")  # its own choice, ``unfinished``, is discarded
    progress = TrainingProgress(say if trainer.is_world_process_zero() else lambda line: None)
    for callback in (progress, *callbacks):
        trainer.add_callback(callback)
    start = newest_checkpoint(unfinished) if resume else None
    if start:
        say(f"going on from step {start.name.split('-')[-1]}")
    try:
        trainer.train(resume_from_checkpoint=str(start) if start else None)
    except Exception as error:
        if says_full(error):
            raise _name_full_disk(model, unfinished) from error
        raise
    finally:
        progress.close()
        with suppress(OSError):
            unfinished.rmdir()  # of a run that was stopped before it wrote anything there
    losses = [(entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    return _gather(trainer, model) if recipe.fsdp else model, losses


def _name_full_disk(model: Any, unfinished: Path) -> CaptureError:
    """Say how much room a checkpoint to go on from takes: weights, and two moments of what is trained."""
    sizes = [(each.numel() * each.element_size(), each.requires_grad) for each in model.parameters()]
    needed = sum(size * (3 if trained else 1) for size, trained in sizes)
    newest = newest_checkpoint(unfinished)
    kept = f"step {newest.name.split('-')[-1]} is kept" if newest else "none is kept"
    return CaptureError(
        f"no space left to write a checkpoint to go on from into {unfinished}: it takes {needed / 2**20:.1f} "
        f"MiB, {free_space(unfinished) / 2**20:.1f} MiB are free. Of those before, {kept}: make room, then "
        "repeat with --resume."
    )


def _gather(trainer: Trainer, model: Any) -> Any:
    """Put a sharded model together again, which takes all processes; the others get what they hold."""
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not trainer.is_world_process_zero():
        return model
    whole = type(model)(model.config)
    whole.load_state_dict(state, assign=True)
    whole.tie_weights()
    return whole.eval()


def wait_for_all() -> None:
    """Wait until every process of a distributed run is here; nothing happens in a run of one."""
    if torch.distributed.is_initialized():
        PartialState().wait_for_everyone()


def _leave() -> None:
    """Take down the process group that the Trainer made, while Python still runs.

    A group that is left to the end of the process is destroyed with the library's own objects, while its
    threads may still be at work on the connections to processes that have ended: that can abort.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def newest_checkpoint(unfinished: Path) -> Path | None:
    """Find the checkpoint with most steps that was written whole: the Trainer writes its state last."""
    found = sorted(unfinished.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[-1]))
    return next((path for path in reversed(found) if _is_whole(path)), None)


def discard_unfinished(out: Path) -> None:
    """Remove the checkpoints to go on from, once the final one is there."""
    shutil.rmtree(out / UNFINISHED, ignore_errors=True)


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _record_settings(unfinished: Path, settings: Any, resume: bool) -> None:
    """Write down what a run was begun with; to go on, it must be the same."""
    path = unfinished / "settings.json"
    wanted = json.dumps(settings, sort_keys=True, default=str)
    if resume and path.exists() and path.read_text(encoding="utf-8") != wanted:
        raise ConfigError(
            f"{unfinished.parent} was begun with other settings, so it cannot be resumed with these. Repeat "
            "the first command with --resume, or name another folder."
        )
    if not resume:
        shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True, exist_ok=True)
    publish_alone(path, wanted)


def _check_sharding(recipe: Recipe, trainer: Trainer) -> None:
    """Refuse a sharded run that would not shard: on the CPU the Trainer replicates without a word."""
    kind = trainer.accelerator.distributed_type.value
    if recipe.fsdp and kind != "FSDP":
        raise ConfigError(
            f"--fsdp needs one GPU a process (torchrun --nproc-per-node N): here the run would be {kind!r}."
        )


def _arguments(recipe: Recipe, unfinished: Path) -> TrainingArguments:
    """Write the recipe as the Trainer's arguments."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    share = recipe.batch / (processes * recipe.accumulate)
    if share != math.floor(share) or share < 1:
        raise ConfigError(
            f"a batch of {recipe.batch} windows cannot be shared out over {processes} processes x "
            f"{recipe.accumulate} backward passes: choose a multiple of {processes * recipe.accumulate}."
        )
    cuda = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(unfinished),
        max_steps=recipe.steps,
        per_device_train_batch_size=int(share),
        gradient_accumulation_steps=recipe.accumulate,
        fsdp="full_shard auto_wrap" if recipe.fsdp and cuda else None,
        learning_rate=recipe.lr,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.05},
        warmup_steps=recipe.warmup_steps,
        weight_decay=0.1,
        adam_beta1=0.9,
        adam_beta2=0.95,
        max_grad_norm=1.0,
        use_cpu=not cuda,
        bf16=training_type()[0] == "bfloat16",
        seed=recipe.seed,
        data_seed=recipe.seed,
        logging_steps=max(1, min(100, recipe.steps // 10)),
        save_strategy="steps" if recipe.save_every else "no",
        save_steps=recipe.save_every or recipe.steps,
        save_total_limit=2,
        report_to=list(recipe.report_to) or "none",
        run_name=unfinished.parent.name,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=cuda,
        **({"gradient_checkpointing": True} if recipe.gradient_checkpointing else {}),  # renamed in 5.23
    )
