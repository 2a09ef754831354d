"""The retrieval bound: how far attention can prefer a key similar to the query to a random one.

B_m is the sum of ``cos(m * inv_freq)`` over the pairs, at lag m; below 0 a random key is preferred. In units
of twice a component's variance, for independent components (Men et al. 2024, arXiv:2405.14591). Frequencies
are radians per token, NaN pads them and counts nowhere; lags are tokens.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from ropediag.errors import ConfigError
from ropediag.rope import inv_freq as plain_inv_freq

ROW, ROWS = 256, 8  # lags in a row, rows in a product: so small that BLAS keeps it on one thread
STRETCH = ROW * ROWS  # lags that are summed together, or ruled out together
SEARCHED = 2**22  # lags searched, unless told otherwise
ROUNDING = 1e-6  # far above the rounding of a sum of cosines, far below what decides


def bm_curve(
    inv_freq: Float[np.ndarray, " pair"], lags: Int[np.ndarray, " lag"]
) -> Float[np.ndarray, " lag"]:
    """Sum ``cos(lag * inv_freq)`` over the pairs."""
    turning = inv_freq[~np.isnan(inv_freq)]
    return np.array([np.cos(lag * turning).sum() for lag in lags], dtype=np.float64)


def bm_bound(inv_freq: Float[np.ndarray, " pair"], max_len: int = SEARCHED) -> int | None:
    """Find the first lag with B_m < 0; None if there is none below ``max_len`` tokens.

    Raises
    ------
    ConfigError
        If ``max_len`` is below 2.
    """
    _check_length(max_len, "max_len")
    return next(_lags_below(inv_freq[~np.isnan(inv_freq)], max_len), None)


def _lags_below(turning: Float[np.ndarray, " pair"], length: int, backwards: bool = False) -> Iterator[int]:
    """Find lags below ``length`` with B_m < 0: the first of each stretch that has one.

    Stretches whose pairs together cannot fall below 0 are ruled out; the others are summed lag by lag, by the
    addition theorem as matrix products.
    """
    within = np.arange(ROW)[:, None] * turning
    cos, sin = np.cos(within).T, np.sin(within).T
    starts = np.arange(0, length, STRETCH)[_may_fall_below(turning, length)]
    for start in reversed(starts) if backwards else starts:
        angle = np.arange(start, min(start + STRETCH, length), ROW)[:, None] * turning
        curve = (np.cos(angle) @ cos - np.sin(angle) @ sin).ravel()[: length - start]
        below = np.flatnonzero(curve < 0)
        if len(below):
            yield int(start + below[0])


def _may_fall_below(turning: Float[np.ndarray, " pair"], length: int) -> Bool[np.ndarray, " stretch"]:
    """Tell the stretches that cannot be ruled out: the sum of each pair's own smallest cosine is below 0.

    A cosine is smallest at an end of the stretch, or -1 if the stretch holds an odd multiple of pi.
    """
    ends = np.arange(0, length + STRETCH, STRETCH)[:, None] * turning
    cosines, half_turns = np.cos(ends), np.floor(ends / (2 * np.pi) - 0.5)
    smallest = np.where(half_turns[1:] > half_turns[:-1], -1.0, np.minimum(cosines[1:], cosines[:-1]))
    return smallest.sum(-1) < ROUNDING


def bm_base_range(
    rotary_dim: int, length: int, bases: Float[np.ndarray, " base"]
) -> tuple[float | None, float | None]:
    """Find, among ``bases``, the smallest with B_m >= 0 up to ``length``, and that from which all have.

    The bases that pass are no interval. ``bases`` are rising candidates of plain RoPE; None stands where
    none passes, or where the largest fails. What lies between the two need not be tried.

    Raises
    ------
    ConfigError
        If a base is not above 1, ``length`` is below 2, or ``rotary_dim`` is not even and positive.
    """
    _check_length(length, "length")

    def passes(base: float) -> bool:  # most that fail do so at large lags
        found = _lags_below(plain_inv_freq(rotary_dim, base), length + 1, backwards=True)
        return next(found, None) is None

    candidates = [float(base) for base in bases]
    smallest = next((base for base in candidates if passes(base)), None)
    all_from = None
    for base in reversed(candidates):
        if smallest is None or base < smallest or not passes(base):
            break
        all_from = base
    return smallest, all_from


def _check_length(length: int, name: str) -> None:
    if length < 2:
        raise ConfigError(f"{name} must be at least 2 tokens: got {length}. Pass a length in tokens.")
