"""Which pairs of which layers and heads: from lists and words to (layer, query head) -> pairs.

*Past* the critical pair are itself and all slower ones, *before* it the faster ones, each layer by its own
critical pair. *Random* sets stand beside a chosen one: equally many pairs of the same layers and heads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ropediag.errors import ConfigError
from ropediag.intervene.intervention import Intervention, Pairs, Place
from ropediag.models.rotation import Rotation


@dataclass(frozen=True, eq=False)
class Target:
    """What an intervention works on in one layer.

    Attributes
    ----------
    layer : index in the model
    inv_freq, channels : of all pairs of the layer
    pairs : chosen query head -> its chosen pairs; none for an intervention on whole heads
    """

    layer: int
    inv_freq: Float[np.ndarray, " pair"]
    channels: Int[np.ndarray, "pair 2"]
    pairs: Mapping[int, Pairs]

    def heads_by_pairs(self) -> dict[Pairs, list[int]]:
        """Group the query heads by what was chosen of them."""
        groups: dict[Pairs, list[int]] = {}
        for head, pairs in self.pairs.items():
            groups.setdefault(pairs, []).append(head)
        return groups


def choose_pairs(
    what: str | Sequence[int],
    rotation: Rotation,
    critical: Int[np.ndarray, " layer"],
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
) -> dict[Place, Pairs]:
    """Name the pairs of each (layer, query head).

    Parameters
    ----------
    what : ``past``, ``before``, ``all`` or a list of pairs
    rotation : of the model
    critical : (layer,) critical pair of each of its layers, -1 without rotation
    layers, heads : which ones; None for all

    Raises
    ------
    ConfigError
        If the model has no such layer, head or pair, or nothing is left to choose.
    """
    counts = [rotation.spec.pair_count(row) for row in range(len(rotation.layers))]
    if not isinstance(what, str) and what and max(what) >= max(counts):
        raise ConfigError(f"the model has no pair {max(what)}: its pairs are 0 to {max(counts) - 1}.")
    chosen: dict[Place, Pairs] = {}
    for row, layer, head in _places(rotation, layers, heads):
        first = int(critical[row])
        by_word = {"all": range(counts[row]), "past": range(first, counts[row]), "before": range(first)}
        wanted = by_word[what] if isinstance(what, str) else [pair for pair in what if pair < counts[row]]
        if counts[row] and len(wanted):
            chosen[layer, head] = tuple(wanted)
    if not chosen:
        raise ConfigError(f"no pair to work on: {what} names none in the layers and heads chosen.")
    return chosen


def draw_random(
    chosen: Mapping[Place, Pairs], rotation: Rotation, generator: np.random.Generator
) -> dict[Place, Pairs]:
    """Draw as many pairs as were chosen, for each layer and head.

    They are other pairs where there are enough of them, else any pairs of the layer that are not just the
    chosen set. Layers and heads with the same chosen pairs get the same random ones; where all pairs are
    chosen there is no other set, and they stay.

    Raises
    ------
    ConfigError
        If every pair is chosen everywhere.
    """
    drawn: dict[tuple[Pairs, int], Pairs] = {}
    rows = {int(layer): row for row, layer in enumerate(rotation.layers)}
    for (layer, _), pairs in chosen.items():
        count = rotation.spec.pair_count(rows[layer])
        if (pairs, count) in drawn:
            continue
        others = np.setdiff1d(np.arange(count), pairs)
        pool = others if len(others) >= len(pairs) else np.arange(count)
        found = pairs
        while found == pairs and len(others):
            found = tuple(sorted(generator.choice(pool, len(pairs), replace=False).tolist()))
        drawn[pairs, count] = found
    control = {
        place: drawn[pairs, rotation.spec.pair_count(rows[place[0]])] for place, pairs in chosen.items()
    }
    if control == chosen:
        raise ConfigError("all pairs are chosen, so there are no random ones to compare with.")
    return control


def find_targets(intervention: Intervention, rotation: Rotation) -> dict[int, Target]:
    """Lay out an intervention over the layers of a model, those without anything chosen left out.

    Raises
    ------
    ConfigError
        If the model has no such layer, head or pair.
    """
    chosen = _choose(intervention, rotation)
    targets = {}
    for row, layer in enumerate(rotation.layers.tolist()):
        pairs_of = {head: pairs for (other, head), pairs in sorted(chosen.items()) if other == layer}
        if pairs_of:
            count, spec = rotation.spec.pair_count(row), rotation.spec
            targets[layer] = Target(layer, spec.inv_freq[row, :count], spec.channels[row, :count], pairs_of)
    return targets


def _choose(intervention: Intervention, rotation: Rotation) -> dict[Place, Pairs]:
    layers, heads = intervention.layers, intervention.heads
    if intervention.kind == "log":  # it works on whole heads, rotating or not
        return {(layer, head): () for _, layer, head in _places(rotation, layers, heads)}
    if isinstance(intervention.pairs, Mapping):
        places = {place: tuple(pairs) for place, pairs in intervention.pairs.items()}
        for place, pairs in places.items():
            _check_place(place, pairs, rotation)
        return {place: pairs for place, pairs in places.items() if pairs}
    if intervention.pairs == ():
        return {}
    what = "all" if intervention.pairs is None else intervention.pairs
    critical = np.full(len(rotation.layers), -1)  # "all" and lists need none
    return choose_pairs(what, rotation, critical, layers, heads)


def _places(
    rotation: Rotation, layers: Sequence[int] | None, heads: Sequence[int] | None
) -> list[tuple[int, int, int]]:
    """List (row, layer, query head) of what was chosen."""
    existing = rotation.layers.tolist()
    for name, wanted, known in (
        ("layer", layers, existing),
        ("head", heads, range(max(rotation.query_heads))),
    ):
        missing = sorted(set(wanted or ()) - set(known))
        if missing:
            raise ConfigError(f"the model has no {name} {missing[0]}: its {name}s are {list(known)}.")
    return [
        (row, layer, head)
        for row, layer in enumerate(existing)
        for head in range(rotation.query_heads[row])
        if (layers is None or layer in layers) and (heads is None or head in heads)
    ]


def _check_place(place: Place, pairs: Pairs, rotation: Rotation) -> None:
    layer, head = place
    row = next(iter(np.flatnonzero(rotation.layers == layer)), None)
    if row is None or head >= rotation.query_heads[row]:
        raise ConfigError(f"the model has no layer {layer}, head {head}.")
    count = rotation.spec.pair_count(int(row))
    if pairs and pairs[-1] >= count:
        raise ConfigError(f"layer {layer} has no pair {pairs[-1]}: it has {count} pairs.")
