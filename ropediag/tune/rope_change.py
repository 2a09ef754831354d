"""The change that tuning makes to a model's RoPE: another base, or a scaling rule.

What comes out are entries of a transformers configuration; the model computes its frequencies itself.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ropediag.checkpoint import Training, resolve_training
from ropediag.errors import ConfigError
from ropediag.rope_config import LayerRope, read_layers
from ropediag.scaling import ntk_base

if TYPE_CHECKING:
    from ropediag.tune.tune_config import TuneConfig

RULES = ("linear", "ntk", "dynamic", "yarn", "llama3")


@dataclass(frozen=True, eq=False)
class RopeChange:
    """What tuning makes of a model, before any weight is read.

    Attributes
    ----------
    entries : of the configuration, replaced
    config : the tuned model's, a transformers configuration
    parent, training : what the laws need, of the parent and of the tuned model
    """

    entries: dict[str, Any]
    config: Any
    parent: Training
    training: Training


def plan_change(parent_config: Any, metadata: Mapping[str, Any], config: "TuneConfig") -> RopeChange:
    """Work out what a tuning run changes, from configurations alone.

    Parameters
    ----------
    parent_config : the parent's transformers configuration
    metadata : of its ``ropediag.json``, empty without one
    config : of the run

    Raises
    ------
    ConfigError
        If nothing states the parent's training length, or its RoPE cannot be changed.
    """
    if parent_config.get_text_config() is not parent_config:
        raise ConfigError(f"{config.model} is a model of more than text, which cannot be tuned here.")
    layer = _first_rotating(parent_config)
    flags = {"train_len": config.train_len, "pretrain_base": config.pretrain_base}
    parent = resolve_training(flags, metadata, layer)
    length = config.length or parent.train_len
    rope = change_rope(
        parent_config.rope_parameters,
        layer.rotary_dim,
        parent.train_len,
        config.base,
        config.scaling,
        config.factor,
    )
    longest = max(length, parent_config.max_position_embeddings or 0)
    if config.scaling == "dynamic":
        longest = parent.train_len  # the length beyond which its base grows
    entries = {"rope_parameters": rope, "max_position_embeddings": longest}
    tuned = copy.deepcopy(parent_config)
    tuned.update(entries)
    known = {"pretrain_base": parent.pretrain_base, "train_len": parent.train_len, "tune_len": length}
    return RopeChange(entries, tuned, parent, resolve_training({}, known, _first_rotating(tuned)))


def _first_rotating(config: Any) -> LayerRope:
    return next(layer for layer in read_layers(config.to_dict()) if layer.rotary_dim)


def change_rope(
    parameters: Mapping[str, Any],
    rotary_dim: int,
    train_len: int,
    base: float | None,
    scaling: str | None,
    factor: float | None,
) -> dict[str, Any]:
    """Work out ``rope_parameters`` of the tuned model.

    Parameters
    ----------
    parameters : ``rope_parameters`` of the parent
    rotary_dim : dimensions
    train_len : tokens, the parent's training length
    base : the new base; None to keep the parent's
    scaling, factor : a rule of ``RULES`` and how many times longer the context is to become

    Raises
    ------
    ConfigError
        If the layers of the parent have RoPE of different kinds.
    """
    if "rope_theta" not in parameters:
        raise ConfigError(
            "the layers of this model have different RoPE parameters "
            f"({', '.join(parameters) or 'none stated'}), which tuning cannot change together."
        )
    changed = dict(parameters)
    if base is not None:
        changed["rope_theta"] = float(base)
    if scaling is None:
        return changed
    kept = {name: value for name, value in changed.items() if name in ("rope_theta", "partial_rotary_factor")}
    if scaling == "ntk":
        return kept | {
            "rope_type": "default",
            "rope_theta": ntk_base(rotary_dim, kept["rope_theta"], float(factor or 1)),
        }
    kept |= {"rope_type": scaling, "factor": float(factor or 1)}
    if scaling in ("yarn", "llama3", "dynamic"):
        kept["original_max_position_embeddings"] = train_len
    if scaling == "llama3":
        kept |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    return kept
