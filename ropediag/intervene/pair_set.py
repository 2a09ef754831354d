"""A set of pairs to intervene on, and the trained reach by which the lag of each is limited."""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from ropediag.intervene.intervention import ByPair, Pairs, Place


@dataclass(frozen=True, eq=False)
class PairSet:
    """Pairs that a pass intervenes on.

    Attributes
    ----------
    pairs : (layer, query head) -> pairs
    reach : likewise -> pair -> the trained reach by which it is limited, tokens; None where the intervention
        does not go by it
    """

    pairs: Mapping[Place, Pairs]
    reach: Mapping[Place, ByPair] | None = None

    def keep(self, wanted: Container[int]) -> "PairSet":
        """Keep these pairs alone, in every layer and head."""
        pairs = {place: tuple(pair for pair in own if pair in wanted) for place, own in self.pairs.items()}
        if self.reach is None:
            return PairSet(pairs)
        return PairSet(pairs, {at: {pair: self.reach[at][pair] for pair in own} for at, own in pairs.items()})

    def limits(self, multiple: float) -> dict[Place, dict[int, float]]:
        """Multiply the reach of each pair: its longest lag, tokens."""
        if self.reach is None:
            raise ValueError("a set without reaches has no limits")
        return {
            place: {pair: multiple * reach for pair, reach in own.items()}
            for place, own in self.reach.items()
        }

    def reaches(self) -> list[float]:
        """List all reaches, tokens."""
        return [reach for own in (self.reach or {}).values() for reach in own.values()]
