"""Scaling rules, and the RopeSpec that a Hugging Face config.json stands for.

NumPy only, float64. The rules follow transformers' ``modeling_rope_utils`` number by number; where a
paper differs, its own form has its own name. A loaded model's buffers are the truth, these formulas
the check. ``factor`` is the wanted length over ``original_len``, the length of pretraining in tokens;
frequencies are radians per token, (pair,) arrays, fastest first; ``base`` is ``rope_theta``.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ropediag.config_class import complete_config
from ropediag.errors import ConfigError
from ropediag.rope import RopeSpec, inv_freq, pair_channels
from ropediag.rope_config import LayerRope, read_layers, read_layout, widest_layers

Frequencies = Float[np.ndarray, " pair"]


def scale_linear(frequencies: Frequencies, factor: float) -> Frequencies:
    """Divide every frequency by ``factor``: position interpolation (arXiv:2306.15595)."""
    return frequencies / factor


def ntk_base(rotary_dim: int, base: float, factor: float) -> float:
    """Raise the base so that the slowest pair slows by ``factor``: NTK-aware scaling (arXiv:2309.00071).

    Raises
    ------
    ConfigError
        If ``rotary_dim`` is below 4, or the base beyond the numbers.
    """
    if rotary_dim < 4:
        raise ConfigError(f"NTK scaling needs a rotary_dim of 4 or more: got {rotary_dim}.")
    larger = math.log(base) + math.log(factor) * rotary_dim / (rotary_dim - 2)
    if larger >= math.log(sys.float_info.max):
        raise ConfigError(f"a factor of {factor:g} is too large for NTK scaling. Lower it.")
    return base * factor ** (rotary_dim / (rotary_dim - 2))


def dynamic_ntk_base(rotary_dim: int, base: float, factor: float, length: int, original_len: int) -> float:
    """Compute the base that dynamic NTK uses at a running ``length``; unchanged up to original_len."""
    stretch = factor * max(length, original_len) / original_len - (factor - 1)
    return ntk_base(rotary_dim, base, stretch)


def qwen_ntk_base(rotary_dim: int, base: float, length: int, original_len: int) -> float:
    """Compute the base of the first Qwen's dynamic NTK: it grows in steps, each time the length doubles."""
    doublings = math.log2(max(length, original_len) / original_len)
    return ntk_base(rotary_dim, base, 2.0 ** math.ceil(doublings + 1) - 1)


def yarn_inv_freq(
    rotary_dim: int,
    base: float,
    factor: float,
    original_len: int,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
    truncate: bool = True,
) -> Frequencies:
    """Compute YaRN as transformers and DeepSeek do: a ramp that is linear in the *pair index*.

    Pairs that make over ``beta_fast`` turns within ``original_len`` keep their frequency, pairs below
    ``beta_slow`` turns are divided by ``factor``. ``truncate`` rounds the ends of the ramp outwards.
    """
    turns = np.array([beta_fast, beta_slow])
    low, high = rotary_dim * np.log(original_len / (2 * np.pi * turns)) / (2 * math.log(base))
    if truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rotary_dim - 1)
    width = 0.001 if high == low else high - low
    interpolated = np.clip((np.arange(rotary_dim // 2) - low) / width, 0, 1)
    plain = inv_freq(rotary_dim, base)
    return plain * (1 - interpolated) + plain / factor * interpolated


def yarn_paper_inv_freq(
    rotary_dim: int,
    base: float,
    factor: float,
    original_len: int,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
) -> Frequencies:
    """Compute YaRN as its paper prints it: a ramp linear in the *turns* (arXiv:2309.00071, section 3.2)."""
    return scale_llama3(inv_freq(rotary_dim, base), factor, original_len, beta_slow, beta_fast)


def yarn_attention_factor(
    factor: float, mscale: float | None = None, mscale_all_dim: float | None = None
) -> float:
    """Compute what YaRN multiplies cos and sin by, ``0.1 ln(factor) + 1``; logits get its square.

    With both ``mscale`` values, their ratio: 1 if equal (DeepSeek, which scales the softmax).
    """

    def temperature(weight: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    if mscale and mscale_all_dim:
        return temperature(mscale) / temperature(mscale_all_dim)
    return temperature(1.0)


def scale_llama3(
    frequencies: Frequencies,
    factor: float,
    original_len: int,
    low_freq_factor: float = 1.0,
    high_freq_factor: float = 4.0,
) -> Frequencies:
    """Divide slow pairs and keep fast ones, by their turns within original_len (Llama 3.1).

    Below ``low_freq_factor`` turns divided by ``factor``, above ``high_freq_factor`` kept, blended between;
    a step where there is nothing between (Llama 4).
    """
    turns = original_len * frequencies / (2 * np.pi)
    if high_freq_factor > low_freq_factor:
        kept = np.clip((turns - low_freq_factor) / (high_freq_factor - low_freq_factor), 0, 1)
    else:
        kept = (turns >= low_freq_factor).astype(np.float64)
    return (1 - kept) * frequencies / factor + kept * frequencies


def scale_longrope(frequencies: Frequencies, factors: Sequence[float]) -> Frequencies:
    """Divide every frequency by its own factor (LongRoPE, arXiv:2402.13753)."""
    if len(factors) != len(frequencies):
        found = f"got {len(factors)} for {len(frequencies)} pairs"
        raise ConfigError(f"LongRoPE needs one factor a pair: {found}. Correct short_factor and long_factor.")
    return frequencies / np.asarray(factors, dtype=np.float64)


def longrope_attention_factor(factor: float, original_len: int) -> float:
    """Compute what LongRoPE multiplies cos and sin by; logits get its square.

    Raises
    ------
    ConfigError
        If ``original_len`` is below 2.
    """
    if original_len < 2:
        raise ConfigError(f"LongRoPE needs an original length of 2 tokens or more: got {original_len}.")
    return 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original_len))


def proportional_inv_freq(head_dim: int, base: float, proportion: float = 1.0) -> Frequencies:
    """Compute p-RoPE: the fastest ``proportion`` of the full head's pairs turn, the others have frequency 0.

    The exponent runs over head_dim, unlike partial RoPE (Barbero et al., arXiv:2410.06205).
    """
    turning = np.arange(head_dim // 2) < int(proportion * head_dim // 2)
    return np.where(turning, inv_freq(head_dim, base), 0.0)


def spec_from_config(
    config: Mapping[str, Any],
    *,
    length: int | None = None,
    layout: str | None = None,
    base: float | None = None,
    scaled: bool = True,
) -> RopeSpec:
    """Compute the RopeSpec of a config.json of transformers 4 or 5.

    Parameters
    ----------
    config : the parsed JSON, completed through its class; a multimodal one is read at its text model's part
    length : int, tokens; where rules that follow the running length (dynamic, longrope) are taken
    layout : "half" or "interleaved"; by model type if not given
    base : float; replaces the config's base in every layer
    scaled : bool; False leaves the scaling rule out: the frequencies before any extension

    Returns
    -------
    RopeSpec; channels are those of the queries and keys that attention sees, ``base`` that of the layers
    with the widest view. Raises ConfigError if the config has no RoPE, lacks a size, or names an unknown
    rule.
    """
    config = complete_config(config)
    layers = read_layers(config)
    if base is not None:
        layers = tuple(replace(layer, base=base) for layer in layers)
    layout = layout or read_layout(config)
    rows = [layer_inv_freq(layer, length, scaled) for layer in layers]
    pairs = max(len(frequencies) for frequencies, _ in rows)
    frequencies = np.full((len(layers), pairs), np.nan)
    channels = np.full((len(layers), pairs, 2), -1, dtype=np.int64)
    for index, (layer, (row, _)) in enumerate(zip(layers, rows, strict=True)):
        if len(row):
            frequencies[index, : len(row)] = row
            channels[index, : len(row)] = pair_channels(layout, 2 * len(row), layer.head_dim, layer.offset)
    widest = widest_layers(layers)[0]
    return RopeSpec(
        inv_freq=frequencies,
        channels=channels,
        attention_factor=np.array([factor for _, factor in rows]),
        head_dim=np.array([layer.head_dim for layer in layers]),
        layout=layout,
        base=widest.base,
    )


def layer_inv_freq(
    layer: LayerRope, length: int | None = None, scaled: bool = True
) -> tuple[Frequencies, float]:
    """Apply the rule of one layer; return its frequencies (none without RoPE) and attention factor."""
    if not layer.rotary_dim:
        return np.empty(0), 1.0
    if layer.rule == "proportional":
        plain = proportional_inv_freq(layer.head_dim, layer.base, layer.rotary_dim / layer.head_dim)
        return scale_linear(plain, _number(layer, "factor", 1.0) if scaled else 1.0), 1.0
    plain = inv_freq(layer.rotary_dim, layer.base)
    if layer.rule == "default" or not scaled:
        return plain, 1.0
    if layer.rule == "linear":
        return scale_linear(plain, _number(layer, "factor")), 1.0
    if layer.rule == "dynamic":
        own = _original_len(replace(layer, original_len=None))
        factor = _number(layer, "factor")
        base = dynamic_ntk_base(layer.rotary_dim, layer.base, factor, length or own, own)
        return inv_freq(layer.rotary_dim, base), 1.0
    if layer.rule == "qwen_ntk":
        own = int(_number(layer, "seq_length"))
        return inv_freq(
            layer.rotary_dim, qwen_ntk_base(layer.rotary_dim, layer.base, length or own, own)
        ), 1.0
    if layer.rule == "ntk_alpha":
        return inv_freq(
            layer.rotary_dim, ntk_base(layer.rotary_dim, layer.base, _number(layer, "alpha"))
        ), 1.0
    if layer.rule == "llama3":
        low, high = _number(layer, "low_freq_factor"), _number(layer, "high_freq_factor")
        return scale_llama3(plain, _number(layer, "factor"), _original_len(layer), low, high), 1.0
    if layer.rule == "yarn":
        return _apply_yarn(layer)
    if layer.rule == "longrope":
        return _apply_longrope(layer, plain, length)
    raise ConfigError(
        f"rope_type must be default, linear, dynamic, yarn, llama3, longrope or proportional: got "
        f"{layer.rule!r}. For another rule take the frequencies from the loaded model."
    )


def _apply_yarn(layer: LayerRope) -> tuple[Frequencies, float]:
    given, original_len = layer.parameters, _original_len(layer)
    factor = _number(layer, "factor", (layer.max_len or original_len) / original_len)
    attention_factor = given.get("attention_factor")
    if attention_factor is None:
        scales = [float(given.get(name) or 0) for name in ("mscale", "mscale_all_dim")]
        attention_factor = yarn_attention_factor(factor, *scales)
    fast, slow = float(given.get("beta_fast") or 32), float(given.get("beta_slow") or 1)
    truncate = given.get("truncate") is not False
    frequencies = yarn_inv_freq(layer.rotary_dim, layer.base, factor, original_len, fast, slow, truncate)
    return frequencies, float(attention_factor)


def _apply_longrope(layer: LayerRope, plain: Frequencies, length: int | None) -> tuple[Frequencies, float]:
    original_len = _original_len(layer)
    reach = "long" if (length or 0) > original_len else "short"
    factors = layer.parameters.get(f"{reach}_factor")
    if factors is None:
        raise ConfigError("longrope needs short_factor and long_factor: the config lacks one. Add it.")
    attention_factor = layer.parameters.get(f"{reach}_mscale")  # Phi-3-small and Phi-3.5-MoE
    if attention_factor is None:
        attention_factor = layer.parameters.get("attention_factor")
    if attention_factor is None:
        factor = _number(layer, "factor", (layer.max_len or original_len) / original_len)
        attention_factor = longrope_attention_factor(factor, original_len)
    return scale_longrope(plain, factors), float(attention_factor)


def _number(layer: LayerRope, name: str, default: float | None = None) -> float:
    value = layer.parameters.get(name)
    value = default if value is None else value
    if not isinstance(value, int | float) or value <= 0:
        raise ConfigError(
            f"rope_type {layer.rule!r} needs a positive {name}: got {value!r}. Correct the config."
        )
    return float(value)


def _original_len(layer: LayerRope) -> int:
    """Take the length a rule refers to, as transformers does: stated, else max_position_embeddings."""
    length = layer.original_len or layer.max_len
    if not length:
        raise ConfigError(f"rope_type {layer.rule!r} needs max_position_embeddings: there is none. Add it.")
    return int(length)
