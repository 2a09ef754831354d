"""Write a trained model as an ordinary Hugging Face checkpoint."""

from pathlib import Path
from typing import Any

from transformers.utils import logging as transformers_logging


def save_model(model: Any, tokenizer: Any | None, out: Path) -> None:
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
    if tokenizer is not None:
        tokenizer.save_pretrained(out)
