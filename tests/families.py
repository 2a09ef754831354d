"""Tiny random models of every supported family, with the traps each one brings."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

_SMALL = {
    "vocab_size": 61,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

FAMILIES = {
    "llama": {},  # half layout, grouped heads
    "qwen3": {"head_dim": 16},  # norm on queries and keys before the rotation
    "gpt_neox": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
                 "num_attention_heads": 3},  # partial rotary
    "cohere2": {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 24,
                "head_dim": 8},  # interleaved; full layers do not rotate
    "gemma2": {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 24, "head_dim": 16,
               "query_pre_attn_scalar": 10, "attn_logit_softcapping": 5.0},  # softcap, own scaling
    "gpt_oss": {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 24, "head_dim": 16,
                "num_local_experts": 2, "num_experts_per_tok": 1,
                "rope_parameters": {"rope_type": "yarn", "rope_theta": 150000.0, "factor": 8.0,
                                    "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
                                    "original_max_position_embeddings": 512}},  # sinks, YaRN
}  # fmt: skip


def tiny_model(family: str, seed: int = 0, **overrides):
    """Build a random model of ``family`` in float32 with weights large enough for spread-out logits."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(family, **{**_SMALL, **FAMILIES.get(family, {}), **overrides})
    model = AutoModelForCausalLM.from_config(config).float().eval()
    generator = torch.Generator().manual_seed(seed + 1)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 or "sinks" in name:
            parameter.data = (
                torch.randn(parameter.shape, generator=generator) * parameter.shape[-1] ** -0.5 * 2
            )
    return model


def tokens(length: int, seed: int = 0) -> torch.Tensor:
    """Random token ids, (1, length)."""
    return torch.randint(3, 61, (1, length), generator=torch.Generator().manual_seed(seed))
