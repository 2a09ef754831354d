"""The memory of an evaluation, checked before its first pass over the whole length."""

from typing import Any

from ropediag.errors import ConfigError
from ropediag.evaluate.config import EvaluateConfig
from ropediag.models.devices import input_device
from ropediag.models.loss import TOKENS_AT_ONCE
from ropediag.models.memory import available_memory, pass_bytes, square_bytes

ADVICE = "use a smaller --len, --dtype bfloat16, or a device with more memory"


def evaluation_bytes(model: Any, config: EvaluateConfig) -> int:
    """Peak over the loaded models: one pass over a sequence, or several windows or prompts at once.

    Parameters
    ----------
    model : in memory or empty
    config : the evaluation
    """
    at_once = min(TOKENS_AT_ONCE, max(2, config.trials) * config.length)
    return pass_bytes(model, config.length, at_once)


def check_memory(model: Any, config: EvaluateConfig) -> None:
    """Refuse a length that the model's device cannot hold.

    Raises
    ------
    ConfigError
    """
    device = input_device(model)
    needed, free = evaluation_bytes(model, config), available_memory(device)
    if needed > free:
        eager = (
            "; its attention allocates length x length, so try another --attn" if square_bytes(model) else ""
        )
        raise ConfigError(
            f"evaluating {config.length:,} tokens takes about {needed / 2**30:.1f} GiB of memory beside the "
            f"model, {free / 2**30:.1f} GiB are free: {ADVICE}{eager}."
        )
