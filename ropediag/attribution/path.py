"""The integral along the path of the gates from 0 to 1: nested Clenshaw-Curtis rules.

A rule with n intervals takes the n + 1 points (1 - cos(k pi / n)) / 2, both ends included, which lie densest
at the ends. That with 2 n intervals takes all of them again and n more, so that refining wastes no pass of
the model, and the loss at both ends, whose difference the integral has to meet, comes with it.

Source: Clenshaw and Curtis 1960, "A method for numerical integration on an automatic computer"; weights as in
Trefethen 2008, "Is Gauss quadrature better than Clenshaw-Curtis?".
"""

import numpy as np
from jaxtyping import Float

LEAST, MOST = 2, 64  # intervals of the coarsest and of the finest rule, powers of two


def points(intervals: int) -> Float[np.ndarray, " point"]:
    """Return the points of a rule on [0, 1], rising."""
    return (1 - np.cos(np.pi * np.arange(intervals + 1) / intervals)) / 2


def weights(intervals: int) -> Float[np.ndarray, " point"]:
    """Return the weights of a rule on [0, 1], which sum to 1.

    Parameters
    ----------
    intervals : an even number
    """
    at = np.arange(intervals + 1)
    order = np.arange(1, intervals // 2 + 1)
    share = np.where(order == intervals // 2, 1.0, 2.0) / (4.0 * order**2 - 1)
    found = 1 - np.cos(2 * np.pi * np.outer(at, order) / intervals) @ share
    found[[0, -1]] /= 2
    return found / intervals


def finest(intervals: int) -> np.ndarray:
    """Return the numbers that the points of a rule have in the finest one."""
    return np.arange(intervals + 1) * (MOST // intervals)
