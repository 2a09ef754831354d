"""Interventions: change what chosen rotary pairs do while a model runs, and see what that repairs.

``intervention`` says what is asked for, ``kinds`` is the registry: the kinds of intervention, each with the
function that carries it out, in ``turning`` (a change of queries, keys or angles, at the speed of the
model's own attention) or ``lag_limits`` (lags clipped or folded, in a separate attention: ``streaming``).
``apply`` is the context manager for any loaded model. ``selection`` turns words and lists into pairs of
layers and heads, ``reaches`` finds the trained reach by which each is limited, ``run`` measures (a model with
its tokens is a ``subject``, what a pass changes a ``pair_set``), ``repair`` gives the share of the damage
repaired with its interval, ``search`` looks for a smallest set, ``result`` holds what came out. Names load on
first use.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ropediag.intervene.apply import intervene
    from ropediag.intervene.config import AblateConfig
    from ropediag.intervene.intervention import Intervention
    from ropediag.intervene.result import Ablation
    from ropediag.intervene.run import ablate_checkpoint, ablate_model

_HOME = {
    "AblateConfig": "config",
    "Ablation": "result",
    "Intervention": "intervention",
    "ablate_checkpoint": "run",
    "ablate_model": "run",
    "intervene": "apply",
}

__all__ = [
    "AblateConfig",
    "Ablation",
    "Intervention",
    "ablate_checkpoint",
    "ablate_model",
    "intervene",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
