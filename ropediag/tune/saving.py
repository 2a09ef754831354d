"""Write a trained model as an ordinary Hugging Face checkpoint, each file whole or not there."""

import os
import shutil
from pathlib import Path
from typing import Any

from transformers.utils import logging as transformers_logging

from ropediag.errors import CaptureError, RopediagError
from ropediag.store.disk import free_space, says_full, sync_folder, writing
from ropediag.tune.metadata import METADATA_NAME

STAGE = ".saving"  # folder in which the files come to be


def save_model(model: Any, tokenizer: Any | None, out: Path) -> None:
    """Write weights, configuration and tokenizer.

    A checkpoint that was there before is replaced; until the new one has its record (``metadata``) it has
    none, so that nobody takes it for whole.

    Raises
    ------
    CaptureError
        If the disk has no room or refuses, with figures; what was there before is then still there.
    """
    stage = out / STAGE
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    model.config.use_cache = True  # the Trainer turns it off
    try:
        with writing(out, size):
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir(parents=True)
            _check_room(out, size)
            _save_quietly(model, stage)
            if tokenizer is not None:
                tokenizer.save_pretrained(stage)
            _move(stage, out)
    except Exception as error:
        if not says_full(error) or isinstance(error, RopediagError):
            raise
        raise _name_full_disk(out, size) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _check_room(out: Path, size: int) -> None:
    if free_space(out) < size:
        raise _name_full_disk(out, size)


def _name_full_disk(out: Path, size: int) -> CaptureError:
    return CaptureError(
        f"no space left to write the checkpoint to {out}: its weights need {size / 2**20:.1f} MiB, "
        f"{free_space(out) / 2**20:.1f} MiB are free."
    )


def _save_quietly(model: Any, folder: Path) -> None:
    """Save without the bar that transformers draws for it."""
    drawn = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        model.save_pretrained(folder)
    finally:
        if drawn:
            transformers_logging.enable_progress_bar()


def _move(stage: Path, out: Path) -> None:
    """Bring whole files to their place; parts of weights that the new checkpoint does not have go."""
    new = sorted(stage.iterdir())
    for path in new:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    (out / METADATA_NAME).unlink(missing_ok=True)
    for old in set(out.glob("model*.safetensors*")) - {out / path.name for path in new}:
        old.unlink()
    for path in new:
        os.replace(path, out / path.name)
    sync_folder(out)
