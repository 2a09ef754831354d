"""Tiny random models of any architecture in transformers, built from its configuration class alone.

``SMALL`` replaces whatever sizes a configuration has, in the text model and in all other parts; ``OWN``
holds what single types need beside. Weights are drawn anew, wide enough for logits that differ, gains of
norms and biases included: initial values (ones, zeros) would hide a norm that comes after the rotation.
"""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from ropediag.errors import ModelError
from ropediag.models.kind import auto_class

LAYERS, WINDOW = 4, 24
SMALL: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 64, "intermediate_size": 48, "num_hidden_layers": LAYERS,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 4096,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.02,
    # windows
    "sliding_window": WINDOW, "attention_chunk_size": WINDOW, "attention_window_size": WINDOW,
    # latent attention and its indexer
    "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "qk_head_dim": 24, "v_head_dim": 16, "kv_lora_rank": 16,
    "q_lora_rank": 24, "index_head_dim": 16, "index_n_heads": 2, "index_topk": 4096,
    # experts
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4,
    "num_experts_per_tok": 2, "num_experts_per_token": 2, "moe_topk": 2, "moe_k": 2, "n_group": 1,
    "topk_group": 1, "num_expert_group": 1, "n_shared_experts": 1, "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16, "expert_ffn_hidden_size": 16, "first_k_dense_replace": 1,
    # layers without attention
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "linear_head_dim": 8, "linear_num_heads": 4, "mamba_n_heads": 4,
    "mamba_d_head": 32, "mamba_num_heads": 4, "mamba_head_dim": 32, "mamba_d_state": 8,
    # embeddings of each layer, images, sound
    "vocab_size_per_layer_input": 64, "hidden_size_per_layer_input": 8, "depth": 1, "num_heads": 4,
    "image_size": 32, "patch_size": 16, "encoder_layers": 1, "decoder_layers": 1, "d_model": 64,
}  # fmt: skip
# positions in time, height and width each turn a section of the pairs, and are the same for text
SECTIONS = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}}
SECTIONED = [
    "glm4v_text",
    "glm_ocr_text",
    "paddleocr_vl_text",
    "qwen2_5_omni_text",
    "qwen2_5_vl_text",
    "qwen2_vl_text",
]
OWN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(SECTIONED, SECTIONS),
    "blt": {"encoder_hash_byte_group_vocab": 64, "vocab_size": 260},
    "blt_local_decoder": {"hidden_size_global": 64},
    "bamba": {"attn_layer_indices": [1, 3]},
    "codegen": {"rotary_dim": 8, "n_positions": 4096},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "rope_parameters": {"sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
                            "full_attention": None},
    },
    "dbrx": {"attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4},
             "n_layers": 2, "max_seq_len": 4096,
             "ffn_config": {"hidden_size": 64, "ffn_hidden_size": 16, "moe_num_experts": 2}},
    "deepseek_v2": {"topk_method": "greedy", "num_experts_per_tok": 2},
    "deepseek_v4": {"o_groups": 2, "o_lora_rank": 8},
    "dots3_note_audio_encoder": {"adapter_input_size": 64, "adapter_out_dim": 64},
    "dots3_note_vision_encoder": {"mlp_layer_types": ["dense"] * 4, "adapter_in_dim": 64,
                                  "adapter_out_dim": 64, "per_layer_config": {}},
    "dots3_note_text": {
        "num_key_value_heads": 4, "swa_num_attention_heads": 4, "swa_num_key_value_heads": 4,
        "swa_q_lora_rank": 24, "swa_kv_lora_rank": 16, "swa_head_dim": 24, "swa_qk_nope_head_dim": 16,
        "swa_v_head_dim": 16, "shared_experts_intermediate_size": 16,
    },
    "ernie4_5_vl_moe_text": {
        "moe_intermediate_size": [16, 16],
        "rope_parameters": SECTIONS["rope_parameters"] | {"mrope_section": [3, 3, 2]},
    },
    "falcon_h1": {"mamba_d_ssm": 128},
    "dots1": {"n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2},
    "gemma4_text": {"global_head_dim": 32},
    "gemma4_unified_text": {"global_head_dim": 32},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2, "position_embedding_type": "rope"},
    "gemma3n_text": {"num_kv_shared_layers": 2, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "glm4v_moe_text": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5,
                            "mrope_section": [1, 1, 2]},
    },
    "gptj": {"rotary_dim": 8, "n_positions": 4096},
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "longcat_flash": {"head_dim": 8, "zero_expert_num": 2},
    "mimo_v2_flash": {"head_dim": 24, "swa_head_dim": 24, "v_head_dim": 16, "swa_v_head_dim": 16},
    "minimax_m3_vl_text": {
        "rotary_dim": 8,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
    },
    "ministral": {"head_dim": 16},
    "nemotron": {"num_key_value_heads": 2},
    "nemotron_h": {"n_groups": 2, "chunk_size": 16, "ssm_state_size": 8,
                   "layers_block_type": ["linear_attention", "full_attention"] * 2},
    "moshi": {"audio_vocab_size": 32, "ffn_dim": 48},
    "qwen4_exp_text": {"indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 16,
                       "indexer_budget": 4096, "indexer_compress_ratio": 4},
    "recurrent_gemma": {"head_dim": 16},
    "zamba2": {"use_mem_rope": True, "layers_block_type": ["linear_attention", "hybrid"] * 2,
               "num_hidden_layers": 4, "n_mamba_heads": 4, "adapter_rank": 4, "chunk_size": 16},
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip


def tiny_config(model_type: str, **overrides: Any) -> Any:
    """Build a small configuration of a type in transformers.

    Parameters
    ----------
    model_type : as in ``config.json``
    overrides : entries to set beside; of the text model where the configuration has parts

    Raises
    ------
    ModelError
        If transformers has no such type.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if model_type not in CONFIG_MAPPING:
        raise ModelError(f"transformers has no model type {model_type!r}.")
    return _shrink(CONFIG_MAPPING[model_type], overrides)


def _shrink(kind: Any, overrides: dict[str, Any]) -> Any:
    """Make a configuration of a class small, and each of its parts."""
    plain = kind()
    entries = {name: value for name, value in SMALL.items() if _is_set(plain, name)}
    if "kv_lora_rank" in entries:
        entries["num_key_value_heads"] = entries["num_attention_heads"]
        entries.pop("head_dim", None)
    kinds = list(dict.fromkeys(getattr(plain, "layer_types", None) or ()))
    if kinds and _is_set(plain, "layer_types"):
        count = max(LAYERS, len(kinds))
        entries["layer_types"] = (kinds * count)[-count:]
        entries["num_hidden_layers"] = count
    entries |= OWN.get(plain.model_type, {})
    parts = {name: getattr(plain, name, None) for name in kind.sub_configs or {}}
    for name, part in parts.items():
        if part is not None and name not in entries:
            entries[name] = _shrink(type(part), overrides if name == "text_config" else {}).to_dict()
    return kind(**{**entries, **({} if "text_config" in parts else overrides)})


def _is_set(config: Any, name: str) -> bool:
    settable = getattr(type(config), config.attribute_map.get(name, name), None)
    if isinstance(settable, property) and settable.fset is None:
        return False
    try:
        return getattr(config, name, None) is not None
    except Exception:
        return True


def tiny_model(model_type: str, *, seed: int = 0, **overrides: Any) -> Any:
    """Build a small random model, in float32 and ready to run.

    Parameters
    ----------
    model_type : as in ``config.json``
    seed : of the weights
    overrides : entries of the configuration
    """
    config = tiny_config(model_type, **overrides)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = auto_class(config).from_config(config).float().eval()
    scatter_weights(model, seed + 1)
    return model


def scatter_weights(model: nn.Module, seed: int) -> None:
    """Draw matrices with a gain of 2, and move gains, biases and sinks off their initial values."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            parameter.data = 2 * drawn * parameter.shape[-1] ** -0.5
        elif parameter.ndim == 1:
            parameter.data = parameter.data + 0.3 * drawn


def random_tokens(length: int, seed: int = 0) -> Int[Tensor, "sequence position"]:
    """Draw token ids that every tiny model has and none treats apart, (1, length)."""
    return torch.randint(3, 60, (1, length), generator=torch.Generator().manual_seed(seed))
