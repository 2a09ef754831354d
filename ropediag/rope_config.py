"""What a Hugging Face config.json says of the RoPE of each layer.

Reads the names that transformers 4 (``rope_theta``, ``rope_scaling``), transformers 5
(``rope_parameters``, by layer type in some models) and older model code use into one record a layer.
Plain dictionaries in, no arrays; the frequencies follow in ``scaling``. Lengths are tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ropediag.errors import ConfigError

DEFAULT_BASE = 10_000.0
# Model types whose attention pairs neighbouring channels; all others rotate halves.
INTERLEAVED = frozenset(
    {
        "chatglm",
        "codegen",
        "cohere",
        "cohere2",
        "cohere2_moe",
        "deepseek_v2",
        "ernie4_5",
        "ernie4_5_moe",
        "glm",
        "glm4",
        "glm4v_text",
        "glm_ocr_text",
        "gptj",
        "helium",
        "llama4_text",
        "roformer",
    }
)
REVERSED = frozenset({"nanochat"})  # turns the other way: the channels of each pair change places
NOPE_ON_FULL_ATTENTION = frozenset(
    {"afmoe", "cohere2", "cohere2_moe", "exaone4", "exaone_moe", "flint", "kolibri1"}
)
ATTENDS_TWICE = frozenset({"longcat_flash"})  # a layer of the config is two layers of attention
HALF_ROTARY = frozenset({"chatglm"})  # rotates half of each head without a key that says so
WITHOUT_ATTENTION = ("linear", "conv", "mamba", "recurrent", "mlp", "moe")  # starts of layer types
ROPE_KEYS = (
    "rope_theta",
    "rope_parameters",
    "rope_scaling",
    "rope_ratio",
    "rope_local_base_freq",
    "original_rope",
    "rotary_dim",
    "rotary_pct",
    "rope_pct",
    "rotary_emb_base",
    "partial_rotary_factor",
    "qk_rope_head_dim",
)


@dataclass(frozen=True)
class LayerRope:
    """The RoPE of one layer as its config states it.

    Attributes
    ----------
    head_dim, rotary_dim, offset : int, dimensions of a head, its rotated ones, those before them;
        rotary_dim is 0 without RoPE
    base : float, ``rope_theta``
    rule : name of the scaling rule, "default" for none
    parameters : what the config gives the rule
    original_len : int or None, ``original_max_position_embeddings`` where stated
    max_len : int or None, ``max_position_embeddings``, which is not the training length
    window : int or None, how many tokens a query of the layer sees; None for all
    """

    head_dim: int
    rotary_dim: int
    offset: int
    base: float
    rule: str
    parameters: Mapping[str, Any]
    original_len: int | None
    max_len: int | None
    window: int | None


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take the text model's part of a multimodal config; any other config is its own."""
    return config.get("text_config") or config


def read_layout(config: Mapping[str, Any]) -> str:
    """Tell the layout of queries and keys as attention sees them, one of ``rope.LAYOUTS``, by model type."""
    model_type = text_part(config).get("model_type")
    if model_type in REVERSED:
        return "half, reversed"
    return "interleaved" if model_type in INTERLEAVED else "half"


def read_layers(config: Mapping[str, Any]) -> tuple[LayerRope, ...]:
    """Read every layer of a config.

    Raises
    ------
    ConfigError
        If the config has no RoPE in any layer, or lacks the number of layers or the size of a head.
    """
    config = text_part(config)
    if config.get("model_type") == "dbrx":  # keeps what its attention needs in a part of its own
        config = {**(config.get("attn_config") or {}), **config}
    if not _has_rope(config):
        raise ConfigError(
            f"no RoPE in this config: model_type is {config.get('model_type')!r} and none of rope_theta, "
            "rope_parameters, rotary_dim is set. Add rope_theta to it if the model does rotate."
        )
    count = int(_require(config, "num_hidden_layers", "n_layer", "num_layers", "n_layers"))
    count *= 2 if config.get("model_type") in ATTENDS_TWICE else 1
    layers = tuple(_read_layer(config, layer) for layer in range(count))
    if not any(layer.rotary_dim for layer in layers):
        raise ConfigError("no layer of this config has RoPE. Pass the config of a model that rotates.")
    return layers


def _has_rope(config: Mapping[str, Any]) -> bool:
    positions = config.get("position_embedding_type")
    if config.get("alibi") or positions in ("alibi", "nope", "learned"):
        return False
    named = any(config.get(key) is not None for key in ROPE_KEYS)
    # The first Llama configs have no RoPE key at all.
    return named or positions in ("rope", "rotary") or config.get("model_type") == "llama"


def _read_layer(model: Mapping[str, Any], layer: int) -> LayerRope:
    layer_type = _layer_type(model, layer)
    config = {**model, **(model.get("per_layer_config") or {}).get(str(layer), {})}
    if layer_type == "full_attention" and "per_layer_config" not in model and model.get("global_head_dim"):
        config["head_dim"] = model["global_head_dim"]
    head_dim, offset = _head_size(config)
    parameters = _rope_parameters(config, layer_type)
    bases = config.get("layer_rope_theta")
    if bases and bases[layer]:
        parameters["rope_theta"] = bases[layer]
    rule = parameters.get("rope_type") or parameters.get("type") or "default"
    return LayerRope(
        head_dim=head_dim,
        rotary_dim=_rotary_dim(config, parameters, head_dim) if _rotates(model, layer, layer_type) else 0,
        offset=offset,
        base=float(parameters["rope_theta"]),
        rule={"su": "longrope", "mrope": "default"}.get(rule, rule),
        parameters=parameters,
        original_len=config.get("original_max_position_embeddings")
        or parameters.get("original_max_position_embeddings"),
        max_len=config.get("max_position_embeddings") or config.get("seq_length"),
        window=_window(config, layer_type),
    )


def _layer_type(config: Mapping[str, Any], layer: int) -> str:
    for name in ("layer_types", "layers_block_type"):
        if config.get(name):
            return config[name][layer]
    pattern = config.get("sliding_window_pattern")
    if isinstance(pattern, int) and pattern > 0:
        return "sliding_attention" if (layer + 1) % pattern else "full_attention"
    if config.get("model_type") == "gemma2":
        return "full_attention" if layer % 2 else "sliding_attention"
    sliding = config.get("sliding_window") and config.get("use_sliding_window", True)
    return "sliding_attention" if sliding else "full_attention"


def _window(config: Mapping[str, Any], layer_type: str) -> int | None:
    if layer_type == "sliding_attention":
        return config.get("sliding_window")
    return config.get("attention_chunk_size") if layer_type == "chunked_attention" else None


def _rotates(config: Mapping[str, Any], layer: int, layer_type: str) -> bool:
    if layer_type.startswith(WITHOUT_ATTENTION):
        return False
    parameters = config.get("rope_parameters") or {}
    if layer_type in parameters and parameters[layer_type] is None:
        return False
    if config.get("attn_layer_indices") is not None:
        return layer in config["attn_layer_indices"]
    if config.get("layer_rope_theta"):
        return bool(config["layer_rope_theta"][layer])  # 0 for a layer without RoPE
    if config.get("no_rope_layers"):
        return bool(config["no_rope_layers"][layer])
    if config.get("no_rope_layer_interval"):
        return bool((layer + 1) % config["no_rope_layer_interval"])
    nope = config.get("model_type") in NOPE_ON_FULL_ATTENTION and config.get("sliding_window")
    return not (nope and layer_type == "full_attention")


def _rope_parameters(config: Mapping[str, Any], layer_type: str) -> dict[str, Any]:
    """Merge what all generations of configs say for one layer type; ``rope_theta`` is always filled in."""
    current = config.get("rope_parameters") or {}
    nested = any(isinstance(value, Mapping) for value in current.values())
    parameters = dict((current.get(layer_type) or {}) if nested else current)
    local = config.get("rope_local_base_freq") or config.get("local_rope_theta")
    is_local = layer_type == "sliding_attention" and local is not None
    if not is_local:  # Gemma 3 scales its global layers only
        parameters = {**(config.get("rope_scaling") or {}), **parameters}
    base = local if is_local else config.get("rope_theta") or config.get("global_rope_theta")
    base = base or config.get("rotary_emb_base") or DEFAULT_BASE * (config.get("rope_ratio") or 1)
    parameters["rope_theta"] = parameters.get("rope_theta") or base
    return parameters


def _head_size(config: Mapping[str, Any]) -> tuple[int, int]:
    """Tell head_dim and the channels before the rotated ones; latent attention rotates the last ones."""
    if config.get("qk_rope_head_dim"):
        plain = int(config.get("qk_nope_head_dim") or 0)
        return plain + int(config["qk_rope_head_dim"]), plain
    for name in ("head_dim", "attention_head_dim", "kv_channels"):
        if config.get(name):
            return int(config[name]), 0
    hidden = int(_require(config, "hidden_size", "n_embd", "d_model"))
    return hidden // int(_require(config, "num_attention_heads", "n_head", "n_heads")), 0


def _rotary_dim(config: Mapping[str, Any], parameters: Mapping[str, Any], head_dim: int) -> int:
    exact = config.get("qk_rope_head_dim") or config.get("rotary_dim")
    if exact:
        return int(exact)
    shares = [parameters.get("partial_rotary_factor")]
    shares += [config.get(name) for name in ("partial_rotary_factor", "rotary_pct", "rope_pct")]
    share = next((share for share in shares if share is not None), None)
    if share is None:
        share = 0.5 if config.get("model_type") in HALF_ROTARY else 1.0
    return int(head_dim * share)


def _require(config: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if config.get(name):
            return config[name]
    raise ConfigError(f"the config lacks {' or '.join(names)}. Pass the complete config.json of a model.")
