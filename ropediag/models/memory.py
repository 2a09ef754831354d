"""Memory: how much a device has left, and how much a pass takes, of a model or of its empty shell."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch

from ropediag.errors import RopediagError
from ropediag.models.kind import auto_class, vocabulary_size

LIBRARIES = 2**26  # bytes of what is loaded on first use (HDF5, FFT plans), and of logits turned into losses
LOSS_VALUES = {"cpu": 2**21, "cuda": 2**24}  # logits turned into losses at once: 8 and 64 MiB in float32
HEAD_VALUES = {"cpu": 2**21, "cuda": 2**26}  # logits of one call of the head: 8 and 256 MiB in float32 ...
HEAD_ROWS = 256  # ... or those of this many positions, where they are more


def available_memory(device: torch.device) -> int:
    """Bytes free on the device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


@contextmanager
def explain_exhaustion(doing: str, advice: str) -> Iterator[None]:
    """Say in one line that memory ran out, on a GPU or on the CPU; let every other error pass.

    Raises
    ------
    RopediagError
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(
            error
        ):
            raise
        raise RopediagError(f"memory ran out while {doing}: {advice}.") from error


def empty_model(config: Any, dtype: str) -> Any:
    """Build a model without weights from its transformers configuration: shapes and types alone."""
    with torch.device("meta"):
        return auto_class(config).from_config(config, dtype=getattr(torch, dtype))


def weight_bytes(model: Any) -> int:
    """Bytes of a model's weights."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def feed_forward_bytes(model: Any, head_dim: int | None = None) -> int:
    """Bytes a token within a layer's feed-forward part, the peak of a pass without gradients.

    Through a layer the model holds the embeddings, the residual stream and its normed copy, and the
    rotation's tables; the feed-forward part adds its input and three arrays of its own width.
    """
    part = model.config.get_text_config()
    hidden = part.hidden_size
    wide = getattr(part, "intermediate_size", None) or 4 * hidden
    wide = max(wide) if isinstance(wide, list) else wide  # one a layer in Gemma 3n
    return (held_values(model, head_dim) + hidden + 3 * wide) * next(model.parameters()).element_size()


def head_rows(vocabulary: int, device: str) -> int:
    """Count the positions of one call of the language-model head, on a type of device."""
    return max(HEAD_ROWS, HEAD_VALUES.get(device, HEAD_VALUES["cpu"]) // vocabulary)


def held_values(model: Any, head_dim: int | None = None) -> int:
    """Values a token that a pass holds through every layer."""
    part = model.config.get_text_config()
    head_dim = head_dim or getattr(part, "head_dim", None) or part.hidden_size // part.num_attention_heads
    return 3 * part.hidden_size + 2 * head_dim


def square_bytes(model: Any) -> int:
    """Bytes per query-key pair that the model's own attention allocates."""
    part = model.config.get_text_config()
    width = next(model.parameters()).element_size()
    if model.config._attn_implementation == "eager":
        return 3 * part.num_attention_heads * width + width
    windows = "sliding_attention" in (getattr(part, "layer_types", None) or ())
    return 1 + width if windows and model.config._attn_implementation == "sdpa" else 0


def pass_bytes(model: Any, length: int, tokens: int | None = None) -> int:
    """Bytes over the model's weights at the peak of passes without gradients.

    Parameters
    ----------
    model : in memory or empty
    length : tokens of the longest sequence
    tokens : of all sequences of one pass, if they are more
    """
    tokens = max(length, tokens or 0)
    passing = tokens * feed_forward_bytes(model) + length**2 * square_bytes(model)
    return max(passing, loss_bytes(model, tokens)) + LIBRARIES


def loss_bytes(model: Any, tokens: int) -> int:
    """Bytes over the weights while a loss is taken: hidden states, twice, and the logits of one call.

    Parameters
    ----------
    model : in memory or empty
    tokens : of the pass whose loss is taken
    """
    parameter, part = next(model.parameters()), model.config.get_text_config()
    vocabulary = vocabulary_size(model)
    rows = min(tokens, head_rows(vocabulary, parameter.device.type))
    scaled = getattr(part, "logits_scaling", None) or getattr(part, "logit_scale", None)
    copies = 3 if getattr(part, "final_logit_softcapping", None) else 2 if scaled else 1
    values = 2 * tokens * part.hidden_size + copies * rows * vocabulary
    return values * parameter.element_size()
