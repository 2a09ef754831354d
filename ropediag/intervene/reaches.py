"""Which pairs an intervention limits by their trained reach."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ropediag.errors import ConfigError
from ropediag.intervene.intervention import Pairs, Place
from ropediag.intervene.pair_set import PairSet
from ropediag.models.rotation import Rotation


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
    reaches : (layer, pair) trained reaches, tokens, as ``theory.training.Training.reach`` computes them

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
