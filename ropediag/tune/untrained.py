"""A tuning of no steps: another RoPE in the config of a model, and its weights as they are."""

from collections.abc import Callable
from pathlib import Path

import torch

from ropediag.models.load import fingerprint_weights, load_model
from ropediag.models.ranks import is_first
from ropediag.tune.card import write_untrained_card
from ropediag.tune.metadata import (
    CheckpointMetadata,
    hash_weights,
    name_parent,
    package_versions,
    record_phases,
    write_metadata,
)
from ropediag.tune.rope_change import RopeChange
from ropediag.tune.saving import save_model
from ropediag.tune.tune_config import TuneConfig


def write_untrained(config: TuneConfig, change: RopeChange, say: Callable[[str], None] = print) -> Path:
    """Write a model under another RoPE; its record holds the phases of its parent, and no new one.

    Under ``torchrun`` only the first process writes.

    Parameters
    ----------
    config : of no steps
    change : what ``plan_change`` made of it
    say : receives what the user should know

    Returns
    -------
    Path, the checkpoint's folder

    Raises
    ------
    ModelError, CaptureError
        If the model cannot be read, or the checkpoint not written.
    """
    if not is_first():
        return config.out
    say("nothing is trained: RoPE changes, the weights do not")
    parent = load_model(config.model, device="cpu", dtype=config.dtype, changes=change.entries)
    save_model(parent.model, parent.tokenizer, config.out)
    metadata = CheckpointMetadata(
        kind="tune",
        base=float(parent.model.config.get_text_config().rope_parameters["rope_theta"]),
        tune_len=change.training.tune_len,
        pretrain_base=change.training.pretrain_base,
        train_len=change.training.train_len,
        steps=0,
        tokens=0,
        text_hash="",
        recall_share=0.0,
        seed=config.seed,
        loss={},
        versions=package_versions(),
        machine={"device": "cpu", "threads": torch.get_num_threads(), "compute": config.dtype},
        command=config.command_line(),
        weights_hash=hash_weights(config.out),
        weight_fingerprint=fingerprint_weights(parent.model),
        parent=name_parent(parent.name, parent.directory),
        scaling=None if config.scaling is None else {"rule": config.scaling, "factor": config.factor},
        phases=record_phases(change.training),
    )
    write_untrained_card(config.out, metadata)
    write_metadata(config.out, metadata)
    return config.out
