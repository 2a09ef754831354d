"""How much memory a training run takes, of a model or of its empty shell."""

from typing import Any

STATE = 3  # gradient and two moments, each as large as the weight
BYTES_A_LOGIT = 10  # in bfloat16, float32 and as a gradient
BYTES_AN_ACTIVATION = 34  # of a layer, per token and channel (Korthikanti et al. 2022), without attention
BYTES_OF_AN_INPUT = 2  # of a layer, per token and channel: what is kept of it to compute it again


def training_bytes(
    model: Any, tokens: int, checkpointing: bool = False, frozen: bool = False, shards: int = 1
) -> int:
    """Weights, optimiser, activations and logits of one backward pass, bytes on each device.

    Parameters
    ----------
    model : in memory or empty, in the data type that it is trained in
    tokens : of one backward pass of one process
    checkpointing : activations are computed twice instead of being kept
    frozen : only low-rank updates are trained
    shards : processes that share weights and optimiser
    """
    part = model.config.get_text_config()
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    if shards > 1:  # Accelerate keeps and updates sharded weights in float32
        weights = sum(parameter.numel() * 4 for parameter in model.parameters())
    layers = part.num_hidden_layers
    kept = layers * BYTES_OF_AN_INPUT + BYTES_AN_ACTIVATION if checkpointing else layers * BYTES_AN_ACTIVATION
    activations = part.hidden_size * kept + part.vocab_size * BYTES_A_LOGIT
    return weights * (1 if frozen else 1 + STATE) // shards + tokens * activations
