"""The trained reach of each pair of a loaded model, and which of its pairs an intervention limits by it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ropediag.checkpoint import Training
from ropediag.config_class import list_entries
from ropediag.errors import ConfigError
from ropediag.intervene.intervention import Pairs, Place
from ropediag.intervene.pair_set import PairSet
from ropediag.models.logits import read_logit_rules
from ropediag.models.rotation import Rotation
from ropediag.rope_config import read_layers
from ropediag.scaling import layer_inv_freq
from ropediag.theory import training as theory


def read_reaches(model: Any, rotation: Rotation, training: Training) -> Float[np.ndarray, "layer pair"]:
    """Compute the trained reach of each pair, rows as in the rotation.

    Pretraining turned at the plain frequencies of its base; a tuning, where lengths or bases show that there
    was one, at those that were measured.

    Parameters
    ----------
    model : the loaded model
    rotation : measured on it
    training : bases and lengths

    Returns
    -------
    tokens; infinite for a pair that training turned through the whole circle, NaN where a layer has no such
    pair
    """
    spec = rotation.spec
    layers, rules = read_layers(list_entries(model.config)), read_logit_rules(model)
    before = np.full_like(spec.inv_freq, np.nan)
    base, pretrain_base = np.full((2, len(rotation.layers)), np.nan)
    window = np.full(len(rotation.layers), theory.ALL_LAGS)
    for row, layer in enumerate(rotation.layers):
        pairs = spec.pair_count(row)
        if not pairs:
            continue
        own = layers[layer]
        earlier = replace(own, base=training.pretrain_base) if own.base == training.base else own
        before[row, :pairs] = layer_inv_freq(earlier, scaled=False)[0]
        base[row], pretrain_base[row] = own.base, earlier.base
        window[row] = rules[int(layer)].window or theory.ALL_LAGS
    phases = [theory.Phase(before, pretrain_base, training.train_len, window, "pretraining", "checkpoint")]
    if training.tune_len != training.train_len or training.base != training.pretrain_base:
        phases.append(theory.Phase(spec.inv_freq, base, training.tune_len, window, "tuning", "checkpoint"))
    return theory.Training(tuple(phases), spec.inv_freq, base, window).reach()


def limit_chosen(
    chosen: Mapping[Place, Pairs], rotation: Rotation, reaches: Float[np.ndarray, "layer pair"]
) -> PairSet:
    """Limit each chosen pair by its trained reach.

    A pair that training turned through the whole circle has none and is left out. Where that is so of every
    chosen pair, the set is a control (pairs before the critical one): each is limited by the smallest reach
    of its layer, or of the model where the layer has none.

    Parameters
    ----------
    chosen : (layer, query head) -> pairs
    rotation : of the model
    reaches : (layer, pair), as ``read_reaches`` gives them

    Raises
    ------
    ConfigError
        If no pair of the model has a trained reach.
    """
    finite = np.isfinite(reaches)
    if not finite.any():
        raise ConfigError(
            "training turned every pair of this model through the whole circle, so none has a trained reach "
            "to go by. Pass one longest lag for all pairs: --limit."
        )
    rows = {int(layer): row for row, layer in enumerate(rotation.layers)}
    own = {
        (layer, head): {
            pair: float(reaches[rows[layer], pair]) for pair in pairs if finite[rows[layer], pair]
        }
        for (layer, head), pairs in chosen.items()
    }
    if not any(own.values()):
        least = float(reaches[finite].min())
        smallest = np.where(finite, reaches, np.inf).min(axis=1)
        smallest = np.where(np.isfinite(smallest), smallest, least)
        own = {
            (layer, head): dict.fromkeys(pairs, float(smallest[rows[layer]]))
            for (layer, head), pairs in chosen.items()
        }
    own = {place: reach for place, reach in own.items() if reach}
    return PairSet({place: tuple(reach) for place, reach in own.items()}, own)
