"""What a Hugging Face config.json says of the RoPE of each layer.

Reads the names that transformers 4 (``rope_theta``, ``rope_scaling``), transformers 5
(``rope_parameters``, by layer type in some models) and older model code use into one record a layer.
Plain dictionaries in, no arrays; the frequencies follow in ``scaling``. What a config leaves to its class
is filled in before, by ``config_class``; here a value that matters and is missing is an error.
Lengths are tokens.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ropediag.errors import ConfigError

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
WINDOW_UNUSED = frozenset({"moshi"})  # states a window that its mask does not have
HALF_ROTARY = frozenset({"chatglm"})  # rotates half of each head without a key that says so
FIXED_BASE = dict.fromkeys(("chatglm", "codegen", "gptj", "roformer"), 10_000.0)  # in the model's code
WITHOUT_ATTENTION = ("linear", "conv", "mamba", "recurrent", "mlp", "moe")  # starts of layer types
PARTS = ("text_config", "llm_config", "language_config", "thinker_config")  # where models keep a text model
BASES = ("rope_theta", "global_rope_theta", "rotary_emb_base", "rope_embedding_base")
LOCAL_BASES = ("rope_local_base_freq", "local_rope_theta")
SHARES = ("partial_rotary_factor", "rotary_pct", "rope_pct")
EXACT = ("qk_rope_head_dim", "rotary_dim", "attn_rotary_emb")  # dimensions that rotate
COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
WIDTHS = ("hidden_size", "n_embd", "d_model")
HEADS = ("num_attention_heads", "n_head", "n_heads")
HEAD_SIZES = ("head_dim", "attention_head_dim", "kv_channels")
LENGTHS = ("max_position_embeddings", "seq_length")
MOST_LAYERS, LARGEST = 10_000, 1_000_000  # layers; heads or dimensions: more is a mistake
ROPE_KEYS = (*BASES, *LOCAL_BASES, *SHARES, *EXACT, "rope_parameters", "rope_scaling", "rope_ratio",
             "original_rope", "layer_rope_theta")  # fmt: skip
LAYERS_BY_NAME = ("layer_types", "layers_block_type")

# The keys that each scaling rule takes, beside those that any may carry. Those of ``_ANY`` do not change the
# frequencies of text: sections of the positions of images, lengths, a factor on queries by position.
_ANY = frozenset(
    {"rope_type", "type", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings",
     "max_position_embeddings", "mrope_section", "mrope_interleaved", "interleaved", "llama_4_scaling_beta"}
)  # fmt: skip
_RAMP = frozenset({"beta_fast", "beta_slow", "mscale", "mscale_all_dim"})
RULE_KEYS: Mapping[str, frozenset[str]] = {
    "default": frozenset(),
    "linear": frozenset({"factor"}),
    "proportional": frozenset({"factor"}),
    "ntk": frozenset({"factor"}),
    "dynamic": frozenset({"factor"}),
    "ntk_alpha": frozenset({"factor", "alpha"}) | _RAMP,  # Hunyuan's files carry the ramp, its code does not
    "yarn": frozenset({"factor", "attention_factor", "truncate", "finetuned"}) | _RAMP,
    "llama3": frozenset({"factor", "low_freq_factor", "high_freq_factor"}),
    "longrope": frozenset(
        {"factor", "attention_factor", "short_factor", "long_factor", "short_mscale", "long_mscale"}
    ),
}


@dataclass(frozen=True)
class LayerRope:
    """The RoPE of one layer as its config states it.

    Attributes
    ----------
    head_dim, rotary_dim, offset : int, dimensions of a head, its rotated ones, those before them;
        rotary_dim is 0 without RoPE
    base : float, ``rope_theta``; NaN without RoPE
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
    """Return the text model's part of a multimodal config; any other config is its own."""
    for name in PARTS:
        if config.get(name):
            check_values(config)
            return text_part(config[name])
    return config


def read_layout(config: Mapping[str, Any]) -> str:
    """Return the layout of queries and keys as attention sees them, one of ``rope.LAYOUTS``, by type."""
    model_type = text_part(config).get("model_type")
    if model_type in REVERSED:
        return "half, reversed"
    return "interleaved" if model_type in INTERLEAVED else "half"


def read_layers(config: Mapping[str, Any]) -> tuple[LayerRope, ...]:
    """Read every layer of a complete config.

    Raises
    ------
    ConfigError
        If the config has no RoPE in any layer, lacks a value that matters, or holds one of another kind.
    """
    config = text_part(config)
    check_entries(config)
    if config.get("model_type") == "dbrx":  # keeps what its attention needs in a part of its own
        config = {**(config.get("attn_config") or {}), **config}
        check_values(config)
    _check_rotation(config)
    count = int(_require(config, *COUNTS))
    count *= 2 if config.get("model_type") in ATTENDS_TWICE else 1
    layers = tuple(_read_layer(config, layer) for layer in range(count))
    if not any(layer.rotary_dim for layer in layers):
        raise ConfigError("no layer of this config has RoPE. Pass the config of a model that rotates.")
    return layers


def widest_layers(layers: Sequence[LayerRope]) -> list[LayerRope]:
    """List the rotating layers that see furthest: a model reaches as far as they do.

    Where bases differ by layer, the base of the model is that of the first of these.
    """
    rotating = [layer for layer in layers if layer.rotary_dim]
    reach = max(layer.window or math.inf for layer in rotating)
    return [layer for layer in rotating if (layer.window or math.inf) == reach]


def _check_rotation(config: Mapping[str, Any]) -> None:
    """Raise ConfigError where the config says that the model does not rotate, or says nothing of it."""
    positions = config.get("position_embedding_type")
    found = None
    if config.get("alibi"):
        found = "alibi is true"
    elif positions in ("alibi", "nope", "learned"):
        found = f"position_embedding_type is {positions!r}"
    elif positions not in ("rope", "rotary") and not _names_rotation(config):
        found = f"model_type is {config.get('model_type')!r} and none of rope_theta, rope_parameters, "
        found += "rotary_dim is set. Add rope_theta to it if the model does rotate"
    if found:
        raise ConfigError(f"no RoPE in this config: {found}.")


def _names_rotation(config: Mapping[str, Any]) -> bool:
    stated = any(config.get(key) is not None for key in ROPE_KEYS)
    return stated or config.get("model_type") in FIXED_BASE


def _read_layer(model: Mapping[str, Any], layer: int) -> LayerRope:
    layer_type = _layer_type(model, layer)
    own = {int(index): entries for index, entries in (model.get("per_layer_config") or {}).items()}
    config = {**model, **(own.get(layer) or {})}
    if layer_type == "full_attention" and not own and model.get("global_head_dim"):
        config["head_dim"] = model["global_head_dim"]
    head_dim, offset = _head_size(config)
    parameters = _rope_parameters(config, layer_type)
    bases = config.get("layer_rope_theta")
    if bases and bases[layer]:
        parameters["rope_theta"] = bases[layer]
    rotates = _rotates(model, layer, layer_type)
    if rotates and parameters.get("rope_theta") is None:
        raise ConfigError(
            f"the config states no rope_theta, the base of the rotation, which layer {layer} needs. Add it "
            "if the model rotates; no value is assumed."
        )
    rule = _rule_name(parameters)
    return LayerRope(
        head_dim=head_dim,
        rotary_dim=_rotary_dim(config, parameters, head_dim) if rotates else 0,
        offset=offset,
        base=float(parameters["rope_theta"]) if parameters.get("rope_theta") else math.nan,
        rule=rule,
        parameters=parameters,
        original_len=config.get("original_max_position_embeddings")
        or parameters.get("original_max_position_embeddings"),
        max_len=next((config[name] for name in LENGTHS if config.get(name)), None),
        window=_window(config, layer_type),
    )


def _layer_type(config: Mapping[str, Any], layer: int) -> str:
    for name in LAYERS_BY_NAME:
        if config.get(name):
            return config[name][layer]
    if config.get("block_types"):  # RecurrentGemma: a pattern, whose attention slides
        kind = config["block_types"][layer % len(config["block_types"])]
        return "sliding_attention" if kind == "attention" and config.get("attention_window_size") else kind
    pattern = config.get("sliding_window_pattern")
    if isinstance(pattern, int) and pattern > 0:
        return "sliding_attention" if (layer + 1) % pattern else "full_attention"
    if config.get("model_type") == "gemma2":
        return "full_attention" if layer % 2 else "sliding_attention"
    sliding = config.get("sliding_window") and config.get("use_sliding_window", True)
    if sliding and config.get("use_sliding_window") and config.get("max_window_layers") is not None:
        sliding = layer >= config["max_window_layers"]  # the Qwen family: the upper layers alone
    return "sliding_attention" if sliding else "full_attention"


def _window(config: Mapping[str, Any], layer_type: str) -> int | None:
    if config.get("model_type") in WINDOW_UNUSED:
        return None
    names = {"sliding_attention": ("sliding_window", "attention_window_size"),
             "chunked_attention": ("attention_chunk_size",)}.get(layer_type, ())  # fmt: skip
    stated = [config[name] for name in names if name in config]
    if names and not stated:
        raise ConfigError(
            f"the config has layers of {layer_type} and no {names[0]}. Add it, or null for none."
        )
    return next((int(window) for window in stated if window), None)


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
    """Merge what all generations of configs say for a layer type; ``rope_theta`` is None if none says it."""
    current = config.get("rope_parameters") or {}
    nested = any(isinstance(value, Mapping) for value in current.values())
    rule = (current.get(layer_type) or {}) if nested else current
    if not isinstance(rule, Mapping):
        raise ConfigError(
            f"rope_parameters of {layer_type} must be an object: got {rule!r}. Correct it there."
        )
    parameters = dict(rule)
    local = next((config[name] for name in LOCAL_BASES if config.get(name)), None)
    is_local = layer_type == "sliding_attention" and local is not None
    if not is_local:  # Gemma 3 scales its global layers only
        parameters = {**(config.get("rope_scaling") or {}), **parameters}
    base = local if is_local else next((config[name] for name in BASES if config.get(name)), None)
    fixed = FIXED_BASE.get(str(config.get("model_type")))
    if base is None and fixed:
        base = fixed * (config.get("rope_ratio") or 1)
    parameters["rope_theta"] = parameters.get("rope_theta") or base
    if config.get("use_dynamic_ntk") and not (parameters.get("rope_type") or parameters.get("type")):
        parameters |= {"rope_type": "qwen_ntk", "seq_length": _require(config, "seq_length")}
    return parameters


def _rule_name(parameters: Mapping[str, Any]) -> str:
    """Return the rule's name in this package, its keys checked."""
    check_values(parameters, "the scaling rule")
    rule = parameters.get("rope_type") or parameters.get("type") or "default"
    rule = {"su": "longrope", "mrope": "default"}.get(rule, rule)
    if rule == "dynamic" and parameters.get("alpha"):
        rule = "ntk_alpha"  # Hunyuan: a larger base at every length
    check_rule(rule, parameters)
    return rule


def check_rule(rule: str, parameters: Mapping[str, Any]) -> None:
    """Raise ConfigError for values of another kind, and for keys that the rule does not take.

    What an unknown rule takes cannot be told; ``scaling`` refuses it by its name.
    """
    check_values(parameters, "the scaling rule")
    if rule not in RULE_KEYS:
        return
    taken = RULE_KEYS[rule]
    unknown = [key for key, value in parameters.items() if key not in taken | _ANY and value is not None]
    if unknown:
        takes = f"It takes {', '.join(sorted(taken))}." if taken else "It takes no key."
        raise ConfigError(
            f"the scaling rule {rule} does not take {unknown[0]}: got {parameters[unknown[0]]!r}. {takes} "
            "Correct the key, or remove it."
        )


def _head_size(config: Mapping[str, Any]) -> tuple[int, int]:
    """Return head_dim and the channels before the rotated ones; latent attention rotates the last ones."""
    if config.get("qk_rope_head_dim"):
        plain = int(config.get("qk_nope_head_dim") or 0)
        return plain + int(config["qk_rope_head_dim"]), plain
    for name in HEAD_SIZES:
        if config.get(name):
            return int(config[name]), 0
    width, heads = int(_require(config, *WIDTHS)), int(_require(config, *HEADS))
    if width < heads:
        raise ConfigError(
            f"the config has {heads} attention heads for {width} dimensions. Correct one of them."
        )
    return width // heads, 0


def _rotary_dim(config: Mapping[str, Any], parameters: Mapping[str, Any], head_dim: int) -> int:
    exact = next((config[name] for name in EXACT if config.get(name)), None)
    if exact and exact > head_dim:
        raise ConfigError(
            f"the config rotates {exact} dimensions of a head of {head_dim}. Correct one of them."
        )
    if exact:
        return int(exact)
    shares = [parameters.get("partial_rotary_factor"), *(config.get(name) for name in SHARES)]
    share = next((share for share in shares if share is not None), None)
    if share is None:
        share = 0.5 if config.get("model_type") in HALF_ROTARY else 1.0
    if head_dim * share < 2:
        raise ConfigError(
            f"partial_rotary_factor {share} of a head of {head_dim} dimensions leaves no pair that rotates. "
            "Correct the config."
        )
    return int(head_dim * share)


def _require(config: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if config.get(name):
            return config[name]
    raise ConfigError(f"the config lacks {' or '.join(names)}. Pass the complete config.json of a model.")


def check_entries(config: Mapping[str, Any]) -> None:
    """Raise ConfigError, naming the key, for values of a kind or lists of a length that cannot be read."""
    check_values(config)
    check_values(config.get("rope_scaling") or {}, "rope_scaling")
    count = int(next((config[name] for name in COUNTS if config.get(name)), 0))
    for name in (*LAYERS_BY_NAME, "no_rope_layers", "layer_rope_theta"):
        if config.get(name) and len(config[name]) < count:
            raise ConfigError(
                f"{name} in the config has {len(config[name])} entries for {count} layers. Give it one each."
            )


def _is_number(value: Any) -> bool:
    """Whether this is a number that a float can hold; NaN and infinity are not."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and abs(value) <= sys.float_info.max


def _is_whole(value: Any) -> bool:
    return _is_number(value) and value == int(value) and value >= 0


def _at_most(largest: int) -> Callable[[Any], bool]:
    return lambda value: _is_whole(value) and value <= largest


def _list_of(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(accepts, value))


def _is_layer_table(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        str(key).isdecimal() and isinstance(entry, Mapping) for key, entry in value.items()
    )


KINDS: tuple[tuple[str, Callable[[Any], bool], tuple[str, ...]], ...] = (
    (f"a whole number from 0 to {MOST_LAYERS:,}", _at_most(MOST_LAYERS), COUNTS),
    (f"a whole number from 0 to {LARGEST:,}", _at_most(LARGEST),
     (*WIDTHS, *HEADS, *HEAD_SIZES, *EXACT, "qk_nope_head_dim", "global_head_dim")),
    ("a whole number, at least 0", _is_whole,
     (*LENGTHS, "sliding_window", "attention_window_size", "attention_chunk_size", "max_window_layers",
      "no_rope_layer_interval", "original_max_position_embeddings")),
    ("a number above 0", lambda value: _is_number(value) and value > 0,
     (*BASES, *LOCAL_BASES, "rope_ratio", "factor", "attention_factor", "alpha", "low_freq_factor",
      "high_freq_factor", "short_mscale", "long_mscale")),
    ("a number, at least 0", lambda value: _is_number(value) and value >= 0,
     ("beta_fast", "beta_slow", "mscale", "mscale_all_dim")),
    ("a number above 0 and at most 1", lambda value: _is_number(value) and 0 < value <= 1, SHARES),
    ("true or false", lambda value: isinstance(value, bool),
     ("alibi", "use_sliding_window", "use_dynamic_ntk", "truncate")),
    ("a text", lambda value: isinstance(value, str),
     ("model_type", "position_embedding_type", "rope_type", "type")),
    ("a whole number or a text", lambda value: _is_whole(value) or isinstance(value, str),
     ("sliding_window_pattern",)),
    ("a list of texts", _list_of(lambda value: isinstance(value, str)), (*LAYERS_BY_NAME, "block_types")),
    ("a list of whole numbers", _list_of(lambda value: isinstance(value, bool) or _is_whole(value)),
     ("no_rope_layers", "attn_layer_indices")),
    ("a list of numbers, at least 0",
     _list_of(lambda value: value is None or (_is_number(value) and value >= 0)), ("layer_rope_theta",)),
    ("a list of numbers above 0", _list_of(lambda value: _is_number(value) and value > 0),
     ("short_factor", "long_factor")),
    ("1, since no other value is read", lambda value: _is_number(value) and value == 1,
     ("rope_position_scale",)),
    ("an object of key and value", lambda value: isinstance(value, Mapping),
     (*PARTS, "rope_parameters", "rope_scaling", "attn_config")),
    ("an object of layer numbers, each with an object", _is_layer_table, ("per_layer_config",)),
)  # fmt: skip


def check_values(
    entries: Mapping[str, Any], where: str = "the config", only: Sequence[str] | None = None
) -> None:
    """Raise ConfigError, naming the key, for a value of another kind than its readers expect."""
    for kind, accepts, names in KINDS:
        for name in names:
            value = entries.get(name) if only is None or name in only else None
            if value is not None and not accepts(value):
                raise ConfigError(f"{name} in {where} must be {kind}: got {value!r}. Correct it there.")
