"""Short-context regression: what a model lost against its parent where both are at home.

Both read the same text in the same windows of the training length, so the difficulty of the text cancels
in the difference, block by block; the interval is that of a mean of paired differences.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ropediag.tune.measure import Estimate, mean_interval


@dataclass(frozen=True)
class Regression:
    """Loss inside the training length, of a model and of its parent.

    Attributes
    ----------
    parent : name of the parent
    loss, parent_loss : mean loss, nats per token
    difference : loss minus parent_loss, nats, with its 95 % interval over blocks of the training length;
        unbounded with a single block
    """

    parent: str
    loss: float
    parent_loss: float
    difference: Estimate

    @property
    def regressed(self) -> bool:
        """Whether the model is worse beyond what the text's chance explains."""
        return self.difference.low > 0


def compare_losses(
    parent: str,
    own: Float[np.ndarray, "sequence position"],
    other: Float[np.ndarray, "sequence position"],
    block: int,
) -> Regression:
    """Compare two losses of the same tokens.

    Parameters
    ----------
    parent : name of the parent
    own, other : loss of the model and of the parent in windows of the training length, nats; NaN at
        position 0
    block : tokens of one block, the training length; what is left at a sequence's end is left out, unless
        the sequence has no whole block

    Returns
    -------
    Regression
    """
    block = min(block, own.shape[1])
    whole = own.shape[1] // block * block
    own, other = (losses[:, :whole].reshape(-1, block).astype(np.float64) for losses in (own, other))
    return Regression(
        parent=parent,
        loss=float(np.nanmean(own)),
        parent_loss=float(np.nanmean(other)),
        difference=mean_interval(np.nanmean(own - other, axis=1)),
    )
