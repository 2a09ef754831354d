"""Pretraining: from a text to a small Llama-type checkpoint that says how it was made.

The Hugging Face Trainer does the training. What it makes is an ordinary checkpoint: ``config.json``,
``model.safetensors`` in float32, a byte tokenizer, and beside them ``ropediag.json`` and a card.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.utils import logging as transformers_logging

from ropediag.assets import held_out_text
from ropediag.errors import ConfigError
from ropediag.text import read_text, read_token_sequences
from ropediag.tune.card import write_card
from ropediag.tune.config import HEAD_DIM, PretrainConfig
from ropediag.tune.corpus import read_standard_library
from ropediag.tune.measure import measure_loss, measure_recall
from ropediag.tune.metadata import CheckpointMetadata, hash_weights, package_versions, write_metadata
from ropediag.tune.progress import TrainingProgress
from ropediag.tune.recall import make_recall_windows
from ropediag.tune.tokenizer import VOCABULARY, byte_tokenizer
from ropediag.tune.windows import TrainingWindows

WARMUP_STEPS = 100
_MEASURED_WINDOWS = 512
_MEASURE_SEED = 1_000_003  # far from the seeds of training, so that no recall window repeats


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
    text = _training_text(config, say)
    torch.manual_seed(config.seed)
    model = build_model(config)
    losses = train_model(model, config, text, say)

    loss = {"train_nats_per_token": losses[-1][1]} | _measure(model, config)
    _save(model, config.out)
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
        machine={"device": model.device.type, "threads": torch.get_num_threads()},
        command=config.command_line(),
        weights_hash=hash_weights(config.out),
    )
    write_card(config.out, config, metadata, model.num_parameters())
    write_metadata(config.out, metadata)
    return config.out


def build_model(config: PretrainConfig) -> LlamaForCausalLM:
    """Build the untrained model: Llama with an untied output, float32, no special tokens.

    ``max_position_embeddings`` is the training length: nothing in a Llama stops at it, and it is the
    nearest thing to a training length that other tools read.
    """
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=config.width,
            intermediate_size=config.feed_forward,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            head_dim=HEAD_DIM,
            max_position_embeddings=config.length,
            rope_parameters={"rope_type": "default", "rope_theta": float(config.base)},
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
            attn_implementation="sdpa",
            dtype="float32",
        )
    )


def train_model(
    model: LlamaForCausalLM, config: PretrainConfig, text: bytes, say: Callable[[str], None]
) -> list[tuple[int, float]]:
    """Train a model in place; return the logged (step, nats per token)."""
    windows = TrainingWindows(
        np.frombuffer(text, dtype=np.uint8),
        config.length,
        config.steps * config.batch,
        config.recall_share,
        config.seed,
    )
    trainer = Trainer(model=model, args=_arguments(config), train_dataset=windows)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    progress = TrainingProgress(say)
    trainer.add_callback(progress)
    try:
        trainer.train()
    finally:
        progress.close()
    return progress.losses


def _save(model: LlamaForCausalLM, out: Path) -> None:
    """Write weights, configuration and tokenizer, without the bar that transformers draws for them."""
    out.mkdir(parents=True, exist_ok=True)
    model.config.use_cache = True  # the Trainer turns it off
    drawn = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        model.save_pretrained(out)
    finally:
        if drawn:
            transformers_logging.enable_progress_bar()
    byte_tokenizer().save_pretrained(out)


def _arguments(config: PretrainConfig) -> TrainingArguments:
    """Write the recipe as the Trainer's arguments."""
    return TrainingArguments(
        output_dir=str(config.out),
        max_steps=config.steps,
        per_device_train_batch_size=config.batch,
        learning_rate=config.lr,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.05},
        warmup_steps=min(WARMUP_STEPS, config.steps // 10),
        weight_decay=0.1,
        adam_beta1=0.9,
        adam_beta2=0.95,
        max_grad_norm=1.0,
        use_cpu=not torch.cuda.is_available(),
        bf16=not torch.cuda.is_available() or torch.cuda.is_bf16_supported(),
        seed=config.seed,
        data_seed=config.seed,
        logging_steps=max(1, min(100, config.steps // 10)),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


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


def _measure(model: LlamaForCausalLM, config: PretrainConfig) -> dict[str, dict]:
    """Measure the model on the bundled held-out text, inside the training length."""
    held_out = read_token_sequences(None, byte_tokenizer(), config.length, _MEASURED_WINDOWS, _MEASURE_SEED)
    filler = np.frombuffer(held_out_text().read_bytes(), dtype=np.uint8)
    recall = make_recall_windows(filler, config.length, _MEASURED_WINDOWS, _MEASURE_SEED)
    nats = asdict(measure_loss(model, held_out))
    bits = {name: value if name == "count" else value / math.log(2) for name, value in nats.items()}
    return {
        "held_out_nats_per_token": nats,
        "held_out_bits_per_byte": bits,
        "recall": asdict(measure_recall(model, recall)),
    }
