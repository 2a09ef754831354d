"""Writing the RoPE of a configuration, as transformers spells it: numbers, another base, a scaling rule.

``rope_config`` reads what is written here, and ``scaling`` computes the frequencies. A *rule* is the mapping
that a config.json holds as ``rope_scaling``: ``rope_type``, mostly ``factor``, and what else it needs; "ntk"
is a rule too, though what is written for it is a larger base. Lengths are tokens.
"""

import math
from collections.abc import Mapping
from typing import Any

from ropediag.errors import ConfigError
from ropediag.rope import check_base, check_rotary_dim
from ropediag.rope_config import check_rule, read_layers, text_part
from ropediag.scaling import ntk_base

RULES = ("linear", "ntk", "dynamic", "yarn", "llama3")  # those that a name and a factor are enough for
Rule = Mapping[str, Any]


def read_rule(scaling: str | Rule | None, factor: float | None) -> dict[str, Any] | None:
    """Take a rule by its name and factor, or whole.

    Parameters
    ----------
    scaling : a name of ``RULES``, or a mapping with ``rope_type``; None for no rule
    factor : how many times longer the context is to become; also added to a mapping

    Raises
    ------
    ConfigError
        If a rule has no name or lacks its factor, or a value is not a number above 0.
    """
    if isinstance(scaling, Mapping):
        rule = _read_whole(scaling) | ({} if factor is None else {"factor": factor})
    elif (scaling is None) != (factor is None):
        raise ConfigError("--scaling and --factor go together: pass both or neither.")
    elif scaling is None:
        return None
    elif scaling not in RULES:
        raise ConfigError(
            f"scaling must be one of {', '.join(RULES)}: got {scaling!r}. Pass other rules whole, as the "
            'rope_scaling of a config.json: {"rope_type": ...}.'
        )
    else:
        rule = {"rope_type": scaling, "factor": factor}
    for name, value in rule.items():
        _check_parameter(name, value)
    check_rule(rule["rope_type"], rule)
    if rule["rope_type"] == "ntk" and not rule.get("factor"):
        raise ConfigError(f"the rule ntk needs a factor: got {rule}.")
    return {name: float(value) if name == "factor" and value else value for name, value in rule.items()}


def _read_whole(scaling: Rule) -> dict[str, Any]:
    name = scaling.get("rope_type") or scaling.get("type")
    if not isinstance(name, str):
        raise ConfigError(f"a scaling rule names its rope_type, such as yarn: got {dict(scaling)}.")
    if "rope_theta" in scaling:
        raise ConfigError("a scaling rule holds no rope_theta of its own: pass it as the base.")
    return {key: value for key, value in scaling.items() if key != "type"} | {"rope_type": name}


def _check_parameter(name: str, value: Any) -> None:
    if name == "rope_type" or value is None or isinstance(value, bool):
        return
    listed = name in ("short_factor", "long_factor") and isinstance(value, list | tuple)
    if not all(_is_positive(number) for number in (value if listed else [value])):
        raise ConfigError(f"{name} of a scaling rule must be a number above 0: got {value!r}.")
    if name == "factor" and value < 1:
        raise ConfigError(f"factor must be at least 1, the wanted over the trained length: got {value!r}.")


def _is_positive(number: Any) -> bool:
    real = isinstance(number, int | float) and not isinstance(number, bool)
    return real and math.isfinite(number) and number > 0


def plain_config(rotary_dim: int, base: float) -> dict[str, Any]:
    """Write the configuration of one layer of plain RoPE whose whole head rotates.

    Raises
    ------
    ConfigError
        If ``rotary_dim`` is not even and positive, or ``base`` not above 1.
    """
    check_rotary_dim(rotary_dim)
    check_base(base, "base")
    rope = {"rope_type": "default", "rope_theta": base}
    return {"num_hidden_layers": 1, "head_dim": rotary_dim, "rope_parameters": rope}


def scale_config(config: Mapping[str, Any], rule: Rule, train_len: int, base: float) -> dict[str, Any]:
    """Write the configuration that a model has after a base and a rule were given to all its layers.

    Parameters
    ----------
    config : of the model before, transformers 4 or 5
    train_len : of pretraining, to which a rule refers unless it states another length
    base : before the rule

    Raises
    ------
    ConfigError
        If the rotating layers of the model have RoPE of different kinds.
    """
    layers = [layer for layer in read_layers(config) if layer.rotary_dim]
    first = layers[0]
    if any(layer.parameters != first.parameters for layer in layers):
        raise ConfigError(
            "the layers of this model have different RoPE, which a rule cannot change together."
        )
    changed = {
        name: value
        for name, value in text_part(config).items()
        if name not in ("rope_theta", "rope_scaling", "original_max_position_embeddings")
    }
    parameters = change_rope(first.parameters, first.rotary_dim, train_len, base, rule)
    changed["rope_parameters"] = parameters
    if rule["rope_type"] == "dynamic":  # the length beyond which its base grows
        changed["max_position_embeddings"] = parameters["original_max_position_embeddings"]
    return changed


def change_rope(
    parameters: Mapping[str, Any],
    rotary_dim: int,
    train_len: int,
    base: float | None,
    rule: Rule | None,
) -> dict[str, Any]:
    """Work out ``rope_parameters`` after a change.

    Parameters
    ----------
    parameters : ``rope_parameters`` of the model before
    rotary_dim : dimensions
    train_len : tokens, the model's training length
    base : the new base; None to keep the model's
    rule : None to keep the model's

    Raises
    ------
    ConfigError
        If the layers of the model have RoPE of different kinds.
    """
    if "rope_theta" not in parameters:
        raise ConfigError(
            "the layers of this model have different RoPE parameters "
            f"({', '.join(parameters) or 'none stated'}), which tuning cannot change together."
        )
    changed = dict(parameters)
    if base is not None:
        changed["rope_theta"] = float(base)
    if rule is None:
        return changed
    kept = {name: value for name, value in changed.items() if name in ("rope_theta", "partial_rotary_factor")}
    if rule["rope_type"] == "ntk":
        larger = ntk_base(rotary_dim, kept["rope_theta"], rule["factor"])
        return kept | {"rope_type": "default", "rope_theta": larger}
    if rule["rope_type"] in ("yarn", "llama3", "dynamic", "longrope"):
        kept["original_max_position_embeddings"] = train_len
    if rule["rope_type"] == "llama3":
        kept |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    return kept | dict(rule)
