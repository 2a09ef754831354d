"""The change that tuning makes to a model's RoPE: another base, or a scaling rule; also without a step.

What comes out are entries of a transformers configuration; the model computes its frequencies itself.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ropediag.checkpoint import METADATA, TrainingFlags, resolve_training
from ropediag.config_class import list_entries, read_widest
from ropediag.errors import ConfigError
from ropediag.rope_config import SHARES, LayerRope
from ropediag.rope_parameters import change_rope, read_rule
from ropediag.theory.phases import OWN, PhaseSpec, TrainingHistory

if TYPE_CHECKING:
    from ropediag.tune.tune_config import TuneConfig


@dataclass(frozen=True, eq=False)
class RopeChange:
    """What tuning makes of a model, before any weight is read.

    Attributes
    ----------
    entries : of the configuration, replaced
    config : the tuned model's, a transformers configuration
    parent, training : phases of training of the parent, and of the tuned model; without a step the same
    """

    entries: dict[str, Any]
    config: Any
    parent: TrainingHistory
    training: TrainingHistory


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
    layer = read_widest(parent_config)
    flags = TrainingFlags(config.train_len, None, config.pretrain_base, config.phases)
    parent = resolve_training(flags, metadata, list_entries(parent_config))
    length = config.length or parent.train_len
    rope = change_rope(
        parent_config.rope_parameters,
        layer.rotary_dim,
        parent.train_len,
        config.base,
        read_rule(config.scaling, config.factor),
    )
    longest = max(length, parent_config.max_position_embeddings or 0)
    if config.scaling == "dynamic":
        longest = parent.train_len  # the length beyond which its base grows
    entries = {"rope_parameters": rope, "max_position_embeddings": longest}
    tuned = copy.deepcopy(parent_config)
    tuned.update(entries)
    changed = read_widest(tuned)
    explicit = {name: value for name, value in rope.items() if name not in ("rope_theta", *SHARES)}
    rule = None if changed.rule == "default" else explicit
    phase = PhaseSpec(length, changed.base, rule, label="tuning", source=METADATA)
    earlier = tuple(_settle(phase, layer) for phase in parent.phases)
    training = TrainingHistory((*earlier, phase) if config.steps else earlier, changed.base)
    return RopeChange(entries, tuned, parent, training)


def _settle(phase: PhaseSpec, layer: LayerRope) -> PhaseSpec:
    """Write out what a phase leaves to the model, which is about to change."""
    rule = phase.rule
    if rule == OWN:
        stated = {
            name: value for name, value in layer.parameters.items() if name not in ("rope_theta", *SHARES)
        }
        rule = None if layer.rule == "default" else stated | {"rope_type": layer.rule}
    return replace(phase, base=phase.base or layer.base, rule=rule)
