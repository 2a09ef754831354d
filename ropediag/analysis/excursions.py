"""Excursions: how far each pair's mean contribution leaves its trained range, lag by lag.

The *range* of a pair is that of its mean contributions at the single lags that training covered; its
*scale* is the standard deviation of its contributions there. Its *excursion* at a longer lag is how far the
mean leaves that range, in units of the scale. A pair turns many times within a wide bin of lags, so the
excursion is taken from the extremes of the single-lag means that the file keeps for each bin, not from the
bin's mean.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ropediag.schema import REPLICATES
from ropediag.store import Capture

TRUSTED = 7 / 8  # of the length; single lags beyond have too few query-key pairs to trust their extremes


@dataclass(frozen=True, eq=False)
class Profiles:
    """What the file holds by lag about one layer.

    Attributes
    ----------
    lag, stop : (bin,) first lag of each bin, and the first one past it, tokens
    low, high : (sequence, head, pair, bin) extremes of the means at the single lags of a bin, logit
    scale : (head, pair) in-window standard deviation of the contribution, logit
    mean_se : (head, pair, bin) standard error of the bin's mean, logit
    single_se : (head, pair) standard error of the mean at a single short lag, logit
    replicates : (bin,) how many replicates that error rests on
    """

    lag: Int[np.ndarray, " bin"]
    stop: Int[np.ndarray, " bin"]
    low: Float[np.ndarray, "sequence head pair bin"]
    high: Float[np.ndarray, "sequence head pair bin"]
    scale: Float[np.ndarray, "head pair"]
    mean_se: Float[np.ndarray, "head pair bin"]
    single_se: Float[np.ndarray, "head pair"]
    replicates: Int[np.ndarray, " bin"]


@dataclass(frozen=True, eq=False)
class Excursions:
    """How far each pair of a layer leaves its range, in the bins past the window that can be trusted.

    Attributes
    ----------
    lag, stop : (bin,) as in ``Profiles``
    value, error : (head, pair, bin) excursion and its standard error, in-window standard deviations; a
        negative one is the distance to the nearer end of the range
    direction : (head, pair, bin) 1 where it leaves, or comes nearest to, the upper end, -1 the lower one
    freedom : (bin,) degrees of freedom of the error, 0 where it is not known
    """

    lag: Int[np.ndarray, " bin"]
    stop: Int[np.ndarray, " bin"]
    value: Float[np.ndarray, "head pair bin"]
    error: Float[np.ndarray, "head pair bin"]
    direction: Float[np.ndarray, "head pair bin"]
    freedom: Int[np.ndarray, " bin"]


def read_profiles(capture: Capture, layer: int, trained: int) -> Profiles:
    """Read one layer, by the capture's coordinate, from the file."""
    lag = capture.values("lag")
    arrays = {
        name: capture.values(f"scores/{name}", layer=layer).astype(float)
        for name in ("mean", "std", "count", "mean_se", "lag_mean_min", "lag_mean_max", "replicate_count")
    }
    stop = np.append(lag[1:], int(capture.attrs["length"]))
    alone = (stop - lag == 1) & (lag > 0)
    coarse = np.searchsorted(capture.values("coarse_lag"), lag, side="right") - 1
    return Profiles(
        lag=lag,
        stop=stop,
        low=arrays["lag_mean_min"],
        high=arrays["lag_mean_max"],
        scale=in_window_scale(arrays["mean"], arrays["std"], arrays["count"], stop <= trained),
        mean_se=arrays["mean_se"],
        single_se=np.sqrt((arrays["mean_se"][..., alone] ** 2).mean(-1)),
        replicates=(arrays["replicate_count"] > 0).sum(0)[coarse],
    )


def in_window_scale(
    mean: Float[np.ndarray, "head pair bin"],
    std: Float[np.ndarray, "head pair bin"],
    count: Float[np.ndarray, " bin"],
    inside: np.ndarray,
) -> Float[np.ndarray, "head pair"]:
    """Standard deviation over all query-key pairs of the bins ``inside``, pooled from those of the bins."""
    inside = inside & (count > 0)
    if not inside.any():  # a layer that is still to come
        return np.full(mean.shape[:-1], np.nan)
    weight = count[inside] / count[inside].sum()
    centre = (mean[..., inside] * weight).sum(-1)
    square = ((mean[..., inside] ** 2 + std[..., inside] ** 2) * weight).sum(-1)
    return np.sqrt(np.maximum(square - centre**2, 0.0))


def find_excursions(profiles: Profiles, trained: int, length: int) -> Excursions:
    """Compare the lags past ``trained`` with those below it.

    Each sequence is held against its own range. The standard error is that over sequences. With fewer than
    ``schema.REPLICATES`` of them it is that of a mean at a single lag, which grows as the query-key pairs get
    fewer, or that of the bin's mean where that is larger.

    Parameters
    ----------
    profiles : one layer
    trained : tokens; lags below it are in-window
    length : tokens of the capture
    """
    measured = np.isfinite(profiles.high)
    there = measured.any((1, 2, 3))  # sequences of an unfinished capture that this layer holds
    seen = measured.any((0, 1, 2))  # bins within the layer's window
    inside = (profiles.stop <= trained) & seen
    beyond = (profiles.lag >= trained) & (profiles.stop <= TRUSTED * length) & seen
    if not inside.any() or not beyond.any():
        return _no_excursions(profiles)
    low, high = profiles.low[there], profiles.high[there]
    # A pair that a layer lacks is NaN throughout, and so is everything that follows from it.
    above = high[..., beyond] - high[..., inside].max(-1, keepdims=True)
    below = low[..., inside].min(-1, keepdims=True) - low[..., beyond]
    scale = np.where(profiles.scale > 0, profiles.scale, np.nan)[..., None]
    up, down = above.mean(0) / scale, below.mean(0) / scale
    upwards = up >= down
    sequences = len(above)
    if sequences >= REPLICATES:
        spread = np.where(upwards, above.std(0, ddof=1), below.std(0, ddof=1))
        error, freedom = spread / np.sqrt(sequences) / scale, np.full(beyond.sum(), sequences - 1)
    else:
        fewer = np.sqrt(length / (length - profiles.stop[beyond] + 1))
        error = np.maximum(profiles.single_se[..., None] * fewer, profiles.mean_se[..., beyond]) / scale
        freedom = np.maximum(profiles.replicates[beyond] - 1, 0)
    return Excursions(
        lag=profiles.lag[beyond],
        stop=profiles.stop[beyond],
        value=np.where(upwards, up, down),
        error=error,
        direction=np.where(upwards, 1.0, -1.0),
        freedom=freedom,
    )


def _no_excursions(profiles: Profiles) -> Excursions:
    """What there is to say of a layer without a lag past the window, or without any lag."""
    nothing = np.zeros((*profiles.scale.shape, 0))
    edges = profiles.lag[:0]
    return Excursions(edges, edges, nothing, nothing, nothing, edges)
