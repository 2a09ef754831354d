"""Excursions: how far each pair's mean contribution leaves its trained range, lag by lag.

The *range* of a pair is that of its mean contributions at the single lags below its trained reach; its
*scale* is the standard deviation of its contributions there. Its *excursion* at an unseen lag is how far the
mean leaves that range, in units of the scale. A pair that made a full turn in training meets no unseen lag
and has none. A pair turns many times within a wide bin of lags, so the excursion is taken from the extremes
of the single-lag means that the file keeps for each bin, not from the bin's mean. A bin with seen and unseen
lags is neither. Which lags are unseen is geometry (``theory.training``); how far the mean moves there is
description.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

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
    seen, unseen : (pair, bin) bins below the trained reach, and bins of lags at unseen angles alone
    scale : (head, pair) standard deviation of the contribution in the seen bins, logit
    mean_se : (head, pair, bin) standard error of the bin's mean, logit
    single_se : (head, pair) standard error of the mean at a single short lag, logit
    replicates : (bin,) how many replicates that error rests on
    """

    lag: Int[np.ndarray, " bin"]
    stop: Int[np.ndarray, " bin"]
    low: Float[np.ndarray, "sequence head pair bin"]
    high: Float[np.ndarray, "sequence head pair bin"]
    seen: Bool[np.ndarray, "pair bin"]
    unseen: Bool[np.ndarray, "pair bin"]
    scale: Float[np.ndarray, "head pair"]
    mean_se: Float[np.ndarray, "head pair bin"]
    single_se: Float[np.ndarray, "head pair"]
    replicates: Int[np.ndarray, " bin"]


@dataclass(frozen=True, eq=False)
class Excursions:
    """How far each pair of a layer leaves its range, in the bins that are unseen by some pair and trusted.

    Attributes
    ----------
    lag, stop : (bin,) as in ``Profiles``
    value, error : (head, pair, bin) excursion and its standard error, in-range standard deviations; a
        negative one is the distance to the nearer end of the range; NaN in bins not unseen by the pair
    direction : (head, pair, bin) 1 where it leaves, or comes nearest to, the upper end, -1 the lower one
    freedom : (bin,) degrees of freedom of the error, 0 where it is not known
    """

    lag: Int[np.ndarray, " bin"]
    stop: Int[np.ndarray, " bin"]
    value: Float[np.ndarray, "head pair bin"]
    error: Float[np.ndarray, "head pair bin"]
    direction: Float[np.ndarray, "head pair bin"]
    freedom: Int[np.ndarray, " bin"]


def read_profiles(capture: Capture, layer: int) -> Profiles:
    """Read one layer, by the capture's coordinate, from the file."""
    lag = capture.values("lag")
    arrays = {
        name: capture.values(f"scores/{name}", layer=layer).astype(float)
        for name in ("mean", "std", "count", "mean_se", "lag_mean_min", "lag_mean_max", "replicate_count")
    }
    stop = np.append(lag[1:], int(capture.attrs["length"]))
    alone = (stop - lag == 1) & (lag > 0)
    coarse = np.searchsorted(capture.values("coarse_lag"), lag, side="right") - 1
    seen, unseen = split_seen(capture, layer, lag, stop)
    return Profiles(
        lag=lag,
        stop=stop,
        low=arrays["lag_mean_min"],
        high=arrays["lag_mean_max"],
        seen=seen,
        unseen=unseen,
        scale=seen_scale(arrays["mean"], arrays["std"], arrays["count"], seen),
        mean_se=arrays["mean_se"],
        single_se=np.sqrt((arrays["mean_se"][..., alone] ** 2).mean(-1)),
        replicates=(arrays["replicate_count"] > 0).sum(0)[coarse],
    )


def split_seen(
    capture: Capture, layer: int, lag: Int[np.ndarray, " bin"], stop: Int[np.ndarray, " bin"]
) -> tuple[Bool[np.ndarray, "pair bin"], Bool[np.ndarray, "pair bin"]]:
    """Find the bins below each pair's trained reach, and those of its unseen lags, of one layer.

    Seen lags of later turns are in neither: there the range is not learned, and nothing is new.
    """
    training = capture.training.take([capture.place("layer", layer)])
    unseen = training.split_bins(lag, stop)[1][0]
    return stop <= training.reach()[0][:, None], unseen


def seen_scale(
    mean: Float[np.ndarray, "head pair bin"],
    std: Float[np.ndarray, "head pair bin"],
    count: Float[np.ndarray, " bin"],
    seen: Bool[np.ndarray, "pair bin"],
) -> Float[np.ndarray, "head pair"]:
    """Return the standard deviation over all query-key pairs of the seen bins; NaN without one."""
    weight = seen * count
    total = weight.sum(-1, keepdims=True)
    weight = weight / np.where(total > 0, total, np.nan)
    known = np.where(seen & (count > 0), mean, 0.0), np.where(seen & (count > 0), std, 0.0)
    centre = (known[0] * weight).sum(-1)
    square = ((known[0] ** 2 + known[1] ** 2) * weight).sum(-1)
    return np.sqrt(np.maximum(square - centre**2, 0.0))


def find_excursions(profiles: Profiles, length: int) -> Excursions:
    """Compare the unseen lags of each pair with those below its trained reach.

    Each sequence is compared with its own range. The standard error is that over sequences. With fewer than
    ``schema.REPLICATES`` of them it is that of a mean at a single lag, which grows as the query-key pairs get
    fewer, or that of the bin's mean where that is larger.

    Parameters
    ----------
    profiles : one layer
    length : tokens of the capture
    """
    measured = np.isfinite(profiles.high)
    there = measured.any((1, 2, 3))  # sequences of an unfinished capture that this layer holds
    within = measured.any((0, 1, 2))  # bins within the layer's window
    seen = profiles.seen & within
    unseen = profiles.unseen & within & (profiles.stop <= TRUSTED * length) & seen.any(-1, keepdims=True)
    beyond = unseen.any(0)
    if not beyond.any():
        return _no_excursions(profiles)
    low, high = profiles.low[there], profiles.high[there]
    # A pair that a layer lacks is NaN throughout, and so is everything that follows from it.
    top = np.where(seen, high, -np.inf).max(-1, keepdims=True)
    bottom = np.where(seen, low, np.inf).min(-1, keepdims=True)
    tested = np.where(unseen, 0.0, np.nan)[:, beyond]
    with np.errstate(invalid="ignore"):
        above, below = high[..., beyond] - top + tested, bottom - low[..., beyond] + tested
    scale = np.where(profiles.scale > 0, profiles.scale, np.nan)[..., None]
    up, down = above.mean(0) / scale, below.mean(0) / scale
    upwards = up >= down
    sequences = len(above)
    if sequences >= REPLICATES:
        with np.errstate(invalid="ignore"):
            spread = np.where(upwards, above.std(0, ddof=1), below.std(0, ddof=1))
        error, freedom = spread / np.sqrt(sequences) / scale, np.full(beyond.sum(), sequences - 1)
    else:
        fewer = np.sqrt(length / (length - profiles.stop[beyond] + 1))
        error = (
            np.maximum(profiles.single_se[..., None] * fewer, profiles.mean_se[..., beyond]) / scale + tested
        )
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
    """Return the excursions of a layer without an unseen lag: none."""
    nothing = np.zeros((*profiles.scale.shape, 0))
    edges = profiles.lag[:0]
    return Excursions(edges, edges, nothing, nothing, nothing, edges)
