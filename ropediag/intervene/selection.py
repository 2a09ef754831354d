"""Which pairs of which layers and heads: from lists and words to (layer, query head) -> pairs.

*Past* the critical pair are itself and all slower ones, *before* it the faster ones, each layer by its own
critical pair. *Random* sets are compared with a chosen one: equally many pairs of the same layers and heads,
each in the place of one that was chosen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from ropediag.errors import ConfigError
from ropediag.intervene.intervention import ByPair, Intervention, Pairs, Place
from ropediag.intervene.pair_set import PairSet
from ropediag.models.rotation import Rotation


@dataclass(frozen=True, eq=False)
class Target:
    """What an intervention works on in one layer.

    Attributes
    ----------
    layer : index in the model
    inv_freq, channels : of all pairs of the layer
    pairs : chosen query head -> its chosen pairs; none for an intervention on whole heads
    limits : likewise -> pair -> its longest lag, tokens; empty for an intervention that limits none
    """

    layer: int
    inv_freq: Float[np.ndarray, " pair"]
    channels: Int[np.ndarray, "pair 2"]
    pairs: Mapping[int, Pairs]
    limits: Mapping[int, ByPair] = field(default_factory=dict)

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
            chosen[layer, head] = tuple(sorted(set(wanted)))
    if not chosen:
        raise ConfigError(f"no pair to work on: {what} names none in the layers and heads chosen.")
    return chosen


def draw_random(chosen: PairSet, rotation: Rotation, generator: np.random.Generator) -> PairSet:
    """Draw as many pairs as were chosen, for each layer and head, each in the place of a chosen one.

    A pair that is drawn takes the reach of the one in whose place it is, and is limited like it. Other pairs
    are drawn where there are enough of them, else any pairs of the layer that are not just the chosen set.
    Layers and heads with the same chosen pairs get the same random ones; where all pairs are chosen there is
    no other set, and they stay.

    Raises
    ------
    ConfigError
        If every pair is chosen everywhere.
    """
    drawn: dict[tuple[Pairs, int], dict[int, int]] = {}  # pair -> the chosen one in whose place it is
    rows = {int(layer): row for row, layer in enumerate(rotation.layers)}
    stands_for: dict[Place, dict[int, int]] = {}
    for place, pairs in chosen.pairs.items():
        count = rotation.spec.pair_count(rows[place[0]])
        if (pairs, count) not in drawn:
            found = _draw_others(pairs, count, generator)
            drawn[pairs, count] = dict(sorted(zip(found, pairs, strict=True)))
        stands_for[place] = drawn[pairs, count]
    control = {place: tuple(own) for place, own in stands_for.items()}
    if control == chosen.pairs:
        raise ConfigError("all pairs are chosen, so there are no random ones to compare with.")
    if chosen.reach is None:
        return PairSet(control)
    lent = {
        place: {pair: chosen.reach[place][stood_for] for pair, stood_for in own.items()}
        for place, own in stands_for.items()
    }
    return PairSet(control, lent)


def _draw_others(pairs: Pairs, count: int, generator: np.random.Generator) -> Sequence[int]:
    """Draw as many of ``count`` pairs, in random order; the same ones only where there are no others."""
    others = np.setdiff1d(np.arange(count), pairs)
    pool = others if len(others) >= len(pairs) else np.arange(count)
    found: Sequence[int] = pairs
    while set(found) == set(pairs) and len(others):
        found = generator.choice(pool, len(pairs), replace=False).tolist()
    return found


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
            inv_freq, channels = spec.inv_freq[row, :count], spec.channels[row, :count]
            limits = _limit_pairs(intervention, layer, pairs_of)
            targets[layer] = Target(layer, inv_freq, channels, pairs_of, limits)
    return targets


def _limit_pairs(intervention: Intervention, layer: int, pairs_of: Mapping[int, Pairs]) -> dict[int, ByPair]:
    """Return the longest lag of each pair, by head; none for an intervention that limits no lags."""
    if intervention.limits is not None:
        return {head: intervention.limits[layer, head] for head in pairs_of}
    if intervention.limit is None:
        return {}
    limit = float(intervention.limit)
    return {head: dict.fromkeys(pairs, limit) for head, pairs in pairs_of.items()}


def _choose(intervention: Intervention, rotation: Rotation) -> dict[Place, Pairs]:
    layers, heads = intervention.layers, intervention.heads
    if intervention.kind == "log":  # it works on whole heads, rotating or not
        return {(layer, head): () for _, layer, head in _places(rotation, layers, heads)}
    named = intervention.pairs if intervention.limits is None else intervention.limits
    if isinstance(named, Mapping):
        places = {place: tuple(pairs) for place, pairs in named.items()}
        for place, pairs in places.items():
            _check_place(place, pairs, rotation)
        return {place: pairs for place, pairs in places.items() if pairs}
    if named == ():
        return {}
    what = "all" if named is None else named
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
