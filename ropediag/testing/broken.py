"""Tiny models in which one known pair of one known head drifts, and nothing else does.

A pair's mean contribution follows the mean query and the mean key: at lag m it is their product, turned by
m times the frequency. So the model's queries and keys are rid of their means, layer by layer, and the one
pair gets a mean in both, by the biases of its projections. A pair that makes a full turn within the training
length shows all of its range there; a slower one leaves it.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ropediag.errors import ConfigError

VOCABULARY = 256
LAYERS, HEADS, HEAD_DIM = 2, 2, 32


def make_broken_model(
    layer: int, query_head: int, pair: int, *, strength: float = 2.0, base: float = 10_000.0, seed: int = 0
) -> Any:
    """Make a random Llama of 2 layers, 2 heads of 32 channels and 256 tokens in which one pair drifts.

    Its statistics are those of ``random_tokens``: capture it on them.

    Parameters
    ----------
    layer, query_head, pair : which; 16 pairs a head
    strength : of the mean in query and key, in standard deviations of their channels
    base : RoPE base, above 1

    Returns
    -------
    a transformers LlamaForCausalLM

    Raises
    ------
    ConfigError
        If there is no such layer, head or pair.
    """
    for name, value, count in (
        ("layer", layer, LAYERS),
        ("query_head", query_head, HEADS),
        ("pair", pair, HEAD_DIM // 2),
    ):
        if not 0 <= value < count:
            raise ConfigError(f"{name} must be from 0 to {count - 1}: got {value}.")
    model = _make_model(base, seed)
    ids = random_tokens(8, 256, seed + 1)
    channel = query_head * HEAD_DIM + pair  # the first of the pair's two
    for index, block in enumerate(model.model.layers):
        centre, spread = _mean_input(model, block, ids)
        for projection in (block.self_attn.q_proj, block.self_attn.k_proj):
            weight = projection.weight.data
            projection.bias.data = -weight @ centre
            if index == layer:
                projection.bias.data[channel] += strength * (weight[channel].square() @ spread).sqrt()
    return model


def random_tokens(sequences: int, length: int, seed: int) -> Int[Tensor, "sequence position"]:
    """Draw tokens independently, so that all positions are alike."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCABULARY, (sequences, length), generator=generator)


def _make_model(base: float, seed: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HEADS * HEAD_DIM,
        intermediate_size=2 * HEADS * HEAD_DIM,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=256,
        rope_parameters={"rope_type": "default", "rope_theta": base},
        attention_bias=True,
        initializer_range=0.2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def _mean_input(
    model: Any, block: Any, ids: Int[Tensor, "sequence position"]
) -> tuple[Float[Tensor, " channel"], Float[Tensor, " channel"]]:
    """Mean and variance of what a layer's queries and keys are projected from."""
    seen: list[Tensor] = []
    hook = block.self_attn.q_proj.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        with torch.no_grad():
            model(input_ids=ids, use_cache=False)
    finally:
        hook.remove()
    values = seen[0].flatten(0, 1)
    return values.mean(0), values.var(0)
