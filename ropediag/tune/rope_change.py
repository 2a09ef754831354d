"""The change that tuning makes to a model's RoPE: another base, or a scaling rule.

What comes out are entries of a transformers configuration; the model computes its frequencies itself.
"""

from collections.abc import Mapping
from typing import Any

from ropediag.errors import ConfigError
from ropediag.scaling import ntk_base

RULES = ("linear", "ntk", "dynamic", "yarn", "llama3")


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
