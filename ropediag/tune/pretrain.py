"""Pretraining: from a text to a small checkpoint that says how it was made.

The Hugging Face Trainer does the training. What it makes is an ordinary checkpoint: ``config.json``,
``model.safetensors`` in float32, a byte tokenizer, and beside them ``ropediag.json`` and a card.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from ropediag.errors import ConfigError
from ropediag.models.compute_type import training_type
from ropediag.models.load import fingerprint_weights
from ropediag.text import read_text
from ropediag.theory.phases import PhaseSpec
from ropediag.tune.card import write_card
from ropediag.tune.config import PretrainConfig
from ropediag.tune.corpus import read_standard_library
from ropediag.tune.measure import measure_inside
from ropediag.tune.metadata import CheckpointMetadata, hash_weights, package_versions, write_metadata
from ropediag.tune.saving import save_model
from ropediag.tune.shapes import build_model
from ropediag.tune.tokenizer import byte_tokenizer
from ropediag.tune.trainer import (
    Recipe,
    discard_unfinished,
    run_trainer,
)
from ropediag.tune.windows import TrainingWindows

WARMUP_STEPS = 100


def pretrain_model(config: PretrainConfig, say: Callable[[str], None] = print) -> Path:
    """Train a model, measure it and write its checkpoint.

    Parameters
    ----------
    config : PretrainConfig
    say : callable
        Receives what the user should know, a line at a time.

    Returns
    -------
    Path, the checkpoint's folder

    Raises
    ------
    ConfigError
        If the text is missing, unreadable or shorter than one window.
    """
    compute, reason = training_type()
    say(f"computing in {compute}: {reason}")
    text = _training_text(config, say)
    torch.manual_seed(config.seed)
    model = build_model(config)
    losses = train_model(model, config, text, say)

    say("measuring loss and recall on the held-out text")
    loss = {"train_nats_per_token": losses[-1][1]} | measure_inside(model, config.length)
    save_model(model, byte_tokenizer(), config.out)
    metadata = CheckpointMetadata(
        kind="pretrain",
        base=config.base,
        tune_len=config.length,
        pretrain_base=config.base,
        train_len=config.length,
        steps=config.steps,
        tokens=config.tokens,
        text_hash=hashlib.sha256(text).hexdigest(),
        recall_share=config.recall_share,
        seed=config.seed,
        loss=loss,
        versions=package_versions(),
        machine={
            "device": model.device.type,
            "threads": torch.get_num_threads(),
            "compute": compute,
        },
        command=config.command_line(),
        weights_hash=hash_weights(config.out),
        weight_fingerprint=fingerprint_weights(model),
        phases=[PhaseSpec(config.length, config.base, label="pretraining").to_json()],
    )
    write_card(config.out, config, metadata, model.num_parameters())
    discard_unfinished(config.out)
    write_metadata(config.out, metadata)
    return config.out


def train_model(
    model: PreTrainedModel, config: PretrainConfig, text: bytes, say: Callable[[str], None]
) -> list[tuple[int, float]]:
    """Train a model in place; return the logged (step, nats per token)."""
    windows = TrainingWindows(
        np.frombuffer(text, dtype=np.uint8),
        config.length,
        config.steps * config.batch,
        config.recall_share,
        config.seed,
    )
    recipe = Recipe(
        steps=config.steps,
        batch=config.batch,
        lr=config.lr,
        warmup_steps=min(WARMUP_STEPS, config.steps // 10),
        seed=config.seed,
        save_every=config.save_every,
        report_to=config.report_to,
    )
    settings = config.settings() | {"text": hashlib.sha256(text).hexdigest()}
    return run_trainer(model, windows, recipe, config.out, say, config.resume, settings)[1]


def _training_text(config: PretrainConfig, say: Callable[[str], None]) -> bytes:
    """Read the text, and say what is not as it was when the bundled model was made."""
    if config.text:
        text = read_text(config.text).encode()
        if len(text) < config.length:
            raise ConfigError(
                f"the text has {len(text)} tokens (bytes) and one training window takes {config.length}: "
                "pass more text or a smaller --length."
            )
        return text
    library = read_standard_library("train")
    if library.differing or library.missing:
        say(
            f"this Python's library is not the bundled model's: {library.differing} of {library.files} "
            f"files differ, {library.missing} are missing; the hash of the text used is recorded."
        )
    return library.text
