"""The families that can be pretrained: a shape as transformers' configuration, and the class of its model.

All have a vocabulary of bytes, an output of its own, no special tokens and float32 weights.
``max_position_embeddings`` is the training length: nothing stops at it, and it is the nearest thing to a
training length that other tools read. A family more is one function more.
"""

from collections.abc import Callable
from typing import Any

from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from ropediag.tune.config import PretrainConfig
from ropediag.tune.tokenizer import VOCABULARY


def make_config(config: PretrainConfig) -> PretrainedConfig:
    """Write the shape of the model as transformers' configuration."""
    return _MAKERS[config.family][0](config)


def build_model(config: PretrainConfig) -> PreTrainedModel:
    """Build the untrained model."""
    make, kind = _MAKERS[config.family]
    return kind(make(config))


def _shared(config: PretrainConfig) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": config.width,
        "intermediate_size": config.feed_forward,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "max_position_embeddings": config.length,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        "attn_implementation": "sdpa",
        "dtype": "float32",
    }


def _rope(config: PretrainConfig) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": float(config.base)}


def _make_llama(config: PretrainConfig) -> LlamaConfig:
    heads = {"num_key_value_heads": config.heads, "head_dim": config.head_dim}
    return LlamaConfig(**_shared(config), **heads, rope_parameters=_rope(config))


def _make_qwen3(config: PretrainConfig) -> Qwen3Config:
    """Queries and keys pass a norm before they are rotated."""
    heads = {"num_key_value_heads": config.heads, "head_dim": config.head_dim}
    return Qwen3Config(**_shared(config), **heads, rope_parameters=_rope(config))


def _make_gpt_neox(config: PretrainConfig) -> GPTNeoXConfig:
    """Part of each head is rotated; attention and feed-forward part stand side by side."""
    rope = _rope(config) | {"partial_rotary_factor": config.partial_rotary_factor}
    return GPTNeoXConfig(**_shared(config), rope_parameters=rope)


_MAKERS: dict[str, tuple[Callable[[PretrainConfig], PretrainedConfig], type[PreTrainedModel]]] = {
    "llama": (_make_llama, LlamaForCausalLM),
    "qwen3": (_make_qwen3, Qwen3ForCausalLM),
    "gpt_neox": (_make_gpt_neox, GPTNeoXForCausalLM),
}
