"""The measured limit: the position from which a longer context does harm.

The excess at a position is the loss with the full context minus the loss of the same token with at
most the training length of context. The difficulty of the text cancels in it, which the raw loss
by position cannot offer.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

THRESHOLD = 0.3  # nats; lower ones trigger on slow plateaus, higher ones come late
RESAMPLES = 500
EXCESS_AT = (1.0, 1.25, 1.5, 2.0, 4.0, 8.0, 16.0, 64.0, 512.0)  # multiples of the training length
STAY = 0.95  # of the moving means past the limit lie above: one odd stretch of text far out hides nothing


@dataclass(frozen=True)
class MeasuredLimit:
    """Where the excess rises above the threshold for good.

    Attributes
    ----------
    position : tokens; None if the excess ends below the threshold
    low, high : 95 % bootstrap interval over sequences, tokens; None with a single sequence, and where
        some resamples stay below the threshold to the end
    threshold : nats
    span : tokens of the moving mean
    """

    position: int | None
    low: int | None
    high: int | None
    threshold: float
    span: int


def measure_limit(
    excess: Float[np.ndarray, "sequence position"],
    train_len: int,
    threshold: float = THRESHOLD,
    seed: int = 0,
) -> MeasuredLimit:
    """Find the first position from which the moving mean of the excess stays above the threshold.

    It stays if it is above everywhere up to twice that position, or the end, and at 19 in 20 positions
    from there on.

    Parameters
    ----------
    excess : loss with full context minus windowed loss, nats; NaN at position 0
    train_len : tokens; the moving mean spans a quarter of it, at least 32 positions around each
    threshold : nats
    seed : of the bootstrap

    Returns
    -------
    MeasuredLimit
    """
    sequences, length = excess.shape
    span = min(max(32, train_len // 4), length - 1)
    smooth = moving_mean(excess, span)
    position = _onset(smooth.mean(0), threshold, span)
    low = high = None
    if sequences > 1 and position is not None:
        chosen = np.random.default_rng(seed).integers(0, sequences, (RESAMPLES, sequences))
        drawn = [_onset(smooth[rows].mean(0), threshold, span) for rows in chosen]
        known = [onset for onset in drawn if onset is not None]
        if len(known) == len(drawn):
            low, high = (int(value) for value in np.percentile(known, [2.5, 97.5], method="nearest"))
    return MeasuredLimit(position, low, high, threshold, span)


def excess_at_multiples(
    excess: Float[np.ndarray, "sequence position"], train_len: int, span: int
) -> tuple[tuple[float, float], ...]:
    """Average the excess over ``span`` tokens around each multiple of the training length in reach.

    Returns
    -------
    (multiple, mean excess in nats) for every multiple of ``EXCESS_AT`` that has half a span on both sides
    """
    half, length = span // 2, excess.shape[1]
    places = [(multiple, int(multiple * train_len)) for multiple in EXCESS_AT]
    return tuple(
        (multiple, float(np.nanmean(excess[:, place - half : place + half])))
        for multiple, place in places
        if half < place <= length - half
    )


def moving_mean(
    values: Float[np.ndarray, "sequence position"], span: int
) -> Float[np.ndarray, "sequence window"]:
    """Mean of each ``span`` consecutive positions, from position 1 on (position 0 is not predicted).

    Window i holds positions i + 1 .. i + span.
    """
    total = np.cumsum(np.pad(values[:, 1:].astype(np.float64), ((0, 0), (1, 0))), axis=1)
    return (total[:, span:] - total[:, :-span]) / span


def _onset(smooth: Float[np.ndarray, " window"], threshold: float, span: int) -> int | None:
    """Centre of the first window that begins the stay above the threshold."""
    above = smooth > threshold
    windows = len(above)
    centre = np.arange(windows) + 1 + span // 2
    share_after = np.cumsum(above[::-1])[::-1] / np.arange(windows, 0, -1)
    below = np.append(np.flatnonzero(~above), windows)
    next_below = below[np.searchsorted(below, np.arange(windows))]
    doubled = np.minimum(np.searchsorted(centre, 2 * centre), windows)
    stays = above & (next_below >= doubled) & (share_after >= STAY)
    return int(centre[np.argmax(stays)]) if stays.any() else None
