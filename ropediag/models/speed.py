"""Operations of a pass, from a model's sizes, and how many a second this machine does."""

import time
from typing import Any

import torch

PROBE = 1024  # rows and columns of the matrices that are multiplied
PROBE_SECONDS = 0.2


def forward_operations(model: Any, sequences: int, length: int) -> float:
    """Floating-point operations of one pass forward.

    Two for each weight and token, of all weights that are multiplied; in attention two products of each
    query with the keys up to it, so two times ``length`` operations per channel and token.

    Parameters
    ----------
    model : in memory or empty
    sequences, length : tokens of the pass are their product
    """
    part = model.config.get_text_config()
    weights = sum(parameter.numel() for parameter in model.parameters())
    if not part.tie_word_embeddings:
        weights -= model.get_input_embeddings().weight.numel()  # looked up, not multiplied
    head_dim = getattr(part, "head_dim", None) or part.hidden_size // part.num_attention_heads
    attention = 2 * part.num_hidden_layers * part.num_attention_heads * head_dim * length
    return float(sequences * length * (2 * weights + attention))


def measure_speed() -> tuple[float, str]:
    """Multiply matrices for a moment: operations a second, and on what."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    left = torch.ones(
        PROBE, PROBE, device=device, dtype=torch.bfloat16 if device == "cuda" else torch.float32
    )
    count, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < PROBE_SECONDS:
        product = left @ left
        product[0, 0].item()  # waits for the device
        count += 1
    where = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    return 2 * PROBE**3 * count / spent, where
