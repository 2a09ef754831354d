"""The walk along the path: more points until the parts add up to the difference of the loss."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int
from torch import Tensor

from ropediag.attribution import path
from ropediag.attribution.layout import Layout
from ropediag.attribution.passes import GatedModel
from ropediag.attribution.points import Parts, Point, PointStore

LEAST_ERROR = 1e-3  # nats that the sum may miss, however small the difference is
MOVES = 2.5  # how much more than that a single part may move when the points are doubled
Say = Callable[[str], None]


def largest_move(parts: Sequence[Parts], others: Sequence[Parts]) -> float:
    """Return by how much a part of a (layer, head, pair) differs at most, mean over sequences, nats."""
    means = [np.mean([each.by_lag.sum(-1) for each in rule], axis=0) for rule in (parts, others)]
    return float(np.nanmax(np.abs(means[0] - means[1])))


class Walk:
    """The points of all sequences.

    Parameters
    ----------
    gated : the model, ready to run
    layout : places of layers, heads and pairs in the arrays
    ids : token ids of all sequences
    stretches : positions whose mean loss is split
    store : of the points
    say : told about progress
    """

    def __init__(
        self,
        gated: GatedModel,
        layout: Layout,
        ids: Int[Tensor, "sequence position"],
        stretches: Sequence[range],
        store: PointStore,
        say: Say,
    ) -> None:
        self._gated, self._layout, self._ids, self._stretches = gated, layout, ids, stretches
        self._store, self._say = store, say

    def refine(self, tolerance: float, most: int) -> int:
        """Measure finer rules until the sum of the parts meets the difference and no part moves much.

        Parameters
        ----------
        tolerance : share of the difference that the sum may miss
        most : points at most

        Returns
        -------
        int
            intervals of the last rule; the sum may still miss the difference if there were no more points
        """
        intervals = path.LEAST
        while True:
            for sequence in range(len(self._ids)):
                self._measure(sequence, intervals)
            (sums, difference), moved = self._sum(intervals), self._moved(intervals)
            missed = sums - difference
            self._say(
                f"{intervals + 1} points: the parts sum to {sums:+.4f} nats, the loss differs "
                f"by {difference:+.4f}"
            )
            allowed = max(tolerance * abs(difference), LEAST_ERROR)
            met = abs(missed) <= allowed and moved <= MOVES * allowed
            if met or 2 * intervals + 1 > most or intervals == path.MOST:
                return intervals
            intervals *= 2

    def gather(self, intervals: int) -> list[Parts]:
        """Integrate each sequence along the path, by a rule whose points were measured."""
        return [self._integrate(sequence, intervals) for sequence in range(len(self._ids))]

    def _integrate(self, sequence: int, intervals: int) -> Parts:
        points = [self._known(int(number), sequence) for number in path.finest(intervals)]
        weights = path.weights(intervals)

        def total(name: str) -> np.ndarray:
            return sum(weight * getattr(point, name) for weight, point in zip(weights, points, strict=True))

        limited, full = points[0], points[-1]
        return Parts(
            difference=full.loss - limited.loss,
            nats=total("nats"),
            by_lag=total("by_lag"),
            first_keys=total("first_keys"),
            nll_limited=limited.nll,
            nll=full.nll,
        )

    def _sum(self, intervals: int) -> tuple[float, float]:
        """Mean over sequences of the sum of all parts, and of the difference of the loss; nats."""
        found = self.gather(intervals)
        share = np.array([len(stretch) for stretch in self._stretches], dtype=float)
        share /= share.sum()
        sums = [float(share @ np.nansum(each.nats, (1, 2, 3))) for each in found]
        return float(np.mean(sums)), float(np.mean([share @ each.difference for each in found]))

    def _moved(self, intervals: int) -> float:
        """How far a part moved at most since the rule with half as many intervals, nats."""
        return largest_move(self.gather(intervals), self.gather(intervals // 2))

    def _known(self, number: int, sequence: int) -> Point:
        point = self._store.get(number, sequence)
        assert point is not None  # refine has measured it
        return point

    def _measure(self, sequence: int, intervals: int) -> None:
        """Measure the points of a rule that are not known of a sequence."""
        for point, gate in zip(path.finest(intervals), path.points(intervals).tolist(), strict=True):
            number = int(point)
            if self._store.get(number, sequence) is None:
                whole = gate in (0.0, 1.0)
                found = self._gated.run(
                    self._ids[sequence], gate, self._stretches, whole=whole, sequence=sequence
                )
                self._store.put(number, sequence, self._layout.arrange(found, self._stretches))
