"""Where layers, heads and pairs lie in the arrays of an attribution: NaN where there is no gate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ropediag.attribution.gates import GatedLayer
from ropediag.attribution.passes import GatePass
from ropediag.attribution.points import Point


@dataclass(frozen=True, eq=False)
class Layout:
    """The axes of the arrays.

    Attributes
    ----------
    gates : layer -> its gates
    lag_bins : how many there are
    """

    gates: Mapping[int, GatedLayer]
    lag_bins: int

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers with gates."""
        return tuple(sorted(self.gates))

    @property
    def heads(self) -> tuple[int, ...]:
        """Query heads with gates in some layer."""
        return tuple(sorted({head for layer in self.gates.values() for head in layer.heads}))

    @property
    def pairs(self) -> tuple[int, ...]:
        """Pairs with gates in some layer."""
        return tuple(sorted({pair for layer in self.gates.values() for pair in layer.pairs}))

    def limits(self) -> np.ndarray:
        """Return the lag limits, (layer, pair), tokens."""
        found = np.full((len(self.layers), len(self.pairs)), np.nan)
        for row, layer in enumerate(self.layers):
            own = self.gates[layer]
            found[row, [self.pairs.index(pair) for pair in own.pairs]] = own.limits
        return found

    def arrange(self, found: GatePass, stretches: Sequence[range]) -> Point:
        """Lay the gradients of a pass out; those of all positions are the mean over the stretches."""
        shape = len(self.layers), len(self.heads), len(self.pairs)
        nats = np.full((len(stretches), *shape), np.nan)
        by_lag, first = np.full((*shape, self.lag_bins), np.nan), np.full(shape, np.nan)
        share = np.array([len(stretch) for stretch in stretches], dtype=float)
        share /= share.sum()
        for row, layer in enumerate(self.layers):
            own = self.gates[layer]
            heads = [self.heads.index(head) for head in own.heads]
            place = np.ix_([row], heads, [self.pairs.index(pair) for pair in own.pairs])
            lags = np.stack([each[layer].by_lag.cpu().numpy() for each in found.gradients])
            firsts = np.stack([each[layer].first_keys.cpu().numpy() for each in found.gradients])
            for number, sums in enumerate(lags.sum(-1)):
                nats[number][place] = sums
            by_lag[place] = np.tensordot(share, lags, 1)
            first[place] = np.tensordot(share, firsts, 1)
        nll = np.zeros(0, dtype=np.float32) if found.nll is None else found.nll
        return Point(found.loss, nats, by_lag, first, nll)
