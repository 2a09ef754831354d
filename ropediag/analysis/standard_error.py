"""The standard error of a mean over sequences, where not every sequence is there."""

import numpy as np
from jaxtyping import Float


def standard_error(values: Float[np.ndarray, "sequence ..."]) -> Float[np.ndarray, "..."]:
    """Compute the standard error of the mean over the first axis.

    NaN, which a capture that grows holds for what is still to come, counts nowhere; the error is NaN where
    fewer than two sequences are there.
    """
    known = ~np.isnan(values)
    count = known.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(known, values, 0.0).sum(0) / count
        square = np.where(known, (values - mean) ** 2, 0.0).sum(0)
        return np.where(count > 1, np.sqrt(square / (count - 1) / count), np.nan)
