"""Tuning: another RoPE base or scaling rule, then all weights trained on at some length.

The result is an ordinary Hugging Face checkpoint whose config carries the new RoPE; ``ropediag.json``
beside it keeps the base and length of pretraining, which the laws need and the config cannot tell.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ropediag.checkpoint import read_checkpoint
from ropediag.errors import ConfigError
from ropediag.models.compute_type import training_device, training_type
from ropediag.models.directory import short_name
from ropediag.models.load import (
    fingerprint_weights,
    load_config,
    load_model,
    load_tokenizer,
)
from ropediag.models.memory import available_memory
from ropediag.models.ranks import is_first
from ropediag.text import leading_tokens, read_documents, tokenize
from ropediag.tune.card import write_tune_card
from ropediag.tune.corpus import read_standard_library
from ropediag.tune.measure import measure_inside
from ropediag.tune.memory import training_bytes
from ropediag.tune.metadata import (
    CheckpointMetadata,
    hash_weights,
    name_parent,
    package_versions,
    record_phases,
    write_metadata,
)
from ropediag.tune.rope_change import plan_change
from ropediag.tune.saving import save_model
from ropediag.tune.tokenizer import VOCABULARY
from ropediag.tune.trainer import (
    Recipe,
    discard_unfinished,
    run_trainer,
    wait_for_all,
)
from ropediag.tune.tune_config import TuneConfig
from ropediag.tune.untrained import write_untrained
from ropediag.tune.windows import TrainingWindows


def tune_model(config: TuneConfig, say: Callable[[str], None] = print) -> Path:
    """Change a model's RoPE, train it, unless in no steps, and write its checkpoint.

    Under ``torchrun`` every process calls this; the first one writes, and all return when that is done.

    Parameters
    ----------
    config : TuneConfig
    say : callable
        Receives what the user should know, a line at a time.

    Returns
    -------
    Path, the checkpoint's folder

    Raises
    ------
    ConfigError, ModelError
        If model or text cannot be used, or the run would not fit in memory.
    """
    compute, reason = training_type(config.dtype)
    if is_first() and config.steps:
        say(f"computing in {compute}: {reason}")
    parent_config, directory = load_config(config.model)
    change = plan_change(parent_config, read_checkpoint(directory)[1] if directory else {}, config)
    training, length = change.parent, change.training.tune_len
    for line in training.describe() if is_first() else ():
        say(line)
    if is_first() and config.scaling is None and config.base in (None, training.base):
        say("RoPE unchanged, as no other base and no scaling rule is given: a control run")
    if config.steps == 0:
        return write_untrained(config, change, say)
    tokenizer = load_tokenizer(config.model)
    byte_level = _is_byte_level(tokenizer, parent_config)
    leading, bos = _find_leading(tokenizer, config, byte_level, length)
    text = _read_tokens(tokenizer, config, byte_level, length - len(leading))
    share = _recall_share(directory, config, byte_level)
    if bos and is_first():
        say(f"every window begins with {bos}, as the model's tokenizer begins a text")
    parent = load_model(
        config.model, device="cpu", dtype=config.dtype, changes=change.entries, tokenizer=tokenizer
    )
    _check_memory(parent.model, config, length)
    torch.manual_seed(config.seed)
    model = _add_lora(parent.model, config.lora) if config.lora else parent.model
    windows = TrainingWindows(text, length, config.steps * config.batch, share, config.seed, leading)
    text_hash = hashlib.sha256(text.tobytes()).hexdigest()
    settings = config.settings() | {"text": text_hash, "parent": name_parent(parent.name, parent.directory)}
    model, losses = run_trainer(model, windows, _recipe(config), config.out, say, config.resume, settings)
    if config.lora:
        model = model.merge_and_unload()
    if _is_first_process():
        loss: dict[str, Any] = {"train_nats_per_token": losses[-1][1]}
        if byte_level:
            say("measuring loss and recall on the held-out text")
            loss |= measure_inside(model, training.train_len)
        save_model(model, parent.tokenizer, config.out)
        metadata = CheckpointMetadata(
            kind="tune",
            base=float(model.config.get_text_config().rope_parameters["rope_theta"]),
            tune_len=length,
            pretrain_base=training.pretrain_base,
            train_len=training.train_len,
            steps=config.steps,
            tokens=config.steps * config.batch * length,
            text_hash=text_hash,
            recall_share=share,
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
            weight_fingerprint=None if config.fsdp else fingerprint_weights(model),
            parent=name_parent(parent.name, parent.directory),
            bos=bos,
            scaling=None if config.scaling is None else {"rule": config.scaling, "factor": config.factor},
            phases=record_phases(change.training),
        )
        write_tune_card(config.out, config, metadata)
        discard_unfinished(config.out)
        write_metadata(config.out, metadata)
    wait_for_all()  # none ends, and takes its connections down, while another is still at work
    return config.out


def _recipe(config: TuneConfig) -> Recipe:
    return Recipe(
        steps=config.steps,
        batch=config.batch,
        lr=config.lr,
        warmup_steps=config.steps // 10,
        seed=config.seed,
        accumulate=config.accumulate,
        gradient_checkpointing=config.gradient_checkpointing,
        fsdp=config.fsdp,
        save_every=config.save_every,
        report_to=config.report_to,
    )


def _is_byte_level(tokenizer: Any | None, model_config: Any) -> bool:
    """Whether a token is a byte, as in models made by ``pretrain``."""
    if tokenizer is None or model_config.get_text_config().vocab_size != VOCABULARY:
        return False
    sample = "ropediag: é\n"
    return tokenize(sample, tokenizer).tolist() == list(sample.encode())


def _find_leading(
    tokenizer: Any | None, config: TuneConfig, byte_level: bool, length: int
) -> tuple[list[int], str]:
    """Find the special tokens with which windows begin, as in later measurements: ids and text."""
    if tokenizer is None or byte_level:
        if config.bos:
            raise ConfigError(
                f"{short_name(config.model)} has no token for the beginning of a text: leave out --bos."
            )
        return [], ""
    leading = leading_tokens(tokenizer, config.bos).tolist()
    if len(leading) >= length:
        raise ConfigError(f"--len must be above {len(leading)}, the leading special tokens: got {length}.")
    return leading, " ".join(tokenizer.convert_ids_to_tokens(leading))


def _read_tokens(tokenizer: Any | None, config: TuneConfig, byte_level: bool, length: int) -> np.ndarray:
    """Read the text as one array of token ids; the tokenizer's end of sequence, if any, ends a document.

    ``length`` is that of a window's part of it.
    """
    if not config.text and not byte_level:
        raise ConfigError(
            f"{short_name(config.model)} needs a text to be tuned on: pass --text with UTF-8 files or "
            "folders."
        )
    if not config.text:
        tokens = np.frombuffer(read_standard_library("train").text, dtype=np.uint8)
    elif byte_level:
        tokens = np.frombuffer("".join(read_documents(config.text)).encode(), dtype=np.uint8)
    elif tokenizer is None:
        raise ConfigError(f"{short_name(config.model)} has no tokenizer, so it cannot be tuned on text.")
    else:
        end = tokenizer.eos_token_id
        between = np.array([] if end is None else [end], dtype=np.int64)
        pieces = [
            piece for text in read_documents(config.text) for piece in (tokenize(text, tokenizer), between)
        ]
        tokens = np.concatenate(pieces).astype(np.int32)
    if tokens.size < length:
        raise ConfigError(
            f"the text has {tokens.size} tokens and one training window takes {length}: pass more text or a "
            "smaller --len."
        )
    return tokens


def _recall_share(directory: Path | None, config: TuneConfig, byte_level: bool) -> float:
    if config.recall_share is None:
        known = read_checkpoint(directory)[1] if directory else {}
        return float(known.get("recall_share", 0.0)) if byte_level else 0.0
    if config.recall_share and not byte_level:
        raise ConfigError("--recall-share takes a byte-level model, as pretrain makes them.")
    return config.recall_share


def _check_memory(model: Any, config: TuneConfig, length: int) -> None:
    """Refuse a run that cannot fit. Of a sharded one no process holds it all, so it is let pass."""
    windows = -(-config.batch // config.accumulate)
    needed = training_bytes(model, windows * length, config.gradient_checkpointing, bool(config.lora))
    free = available_memory(training_device())
    if needed > free and not config.fsdp:
        raise ConfigError(
            f"tuning {windows} windows of {length} tokens at once takes about {needed / 2**30:.1f} GiB of "
            f"memory, {free / 2**30:.1f} GiB are free: use a smaller --len or --batch, more --accumulate, or "
            "--gradient-checkpointing."
        )


def _add_lora(model: Any, rank: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ConfigError("--lora needs peft: pip install 'ropediag[lora]'.") from error
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))


def _is_first_process() -> bool:
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
