"""Range check: whether a pair's range holds at lags it has seen, in sequences it was not learned from.

Drift is an excursion at unseen lags. At seen lags there is nothing to find, so what leaves the range there is
noise, and says how far the ranges of this capture can be trusted. It is no evidence that the trained reach is
right: below any cut a range holds up to that cut.
"""

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.excursions import TRUSTED, Profiles, read_profiles
from ropediag.store import Capture

HALF = 4  # sequences at least, to learn a range from and to test it with
STRAYS = 0.5  # in-range standard deviations: what exceeds them at a seen lag has left its range

LABELS = {
    "stray": ("in-range std", "largest excursion at a seen lag, in the half of the sequences left out"),
    "strays": ("1", f"whether it exceeds {STRAYS:g} in-range standard deviations"),
}


@diagnostic(
    question="Does the range of each pair hold at angles that training showed, in sequences left out of it?",
    high="noise leads out of the range: drift of this size at unseen lags says little",
    interval=f"none; NaN with fewer than {HALF} sequences in each half",
    source="ropediag's own check of its drift",
    shows="stray",
)
def measure_range_check(capture: Capture) -> xr.Dataset:
    """Learn ranges from every second sequence, and compare the others with them at all seen lags.

    The range is learned below the trained reach; of a pair that made a full turn in training, within the
    longest length of training, or within its first turn as the model is now, if that takes longer. It is
    tested there and at the seen lags of later turns, up to 7/8 of the length.

    Returns
    -------
    xr.Dataset over (layer, query_head, pair)
        ``stray``: the largest excursion of the mean over the sequences left out, negative inside the range;
        ``strays``. NaN and 0 where it was not tested.

    Raises
    ------
    ConfigError
        If the file does not state the training length.
    """
    mean, axes = capture["scores/mean"], ("layer", "query_head", "pair")
    layers = capture.values("layer").tolist()
    if capture.sizes["sequence"] < 2 * HALF:
        stray = np.full([mean.sizes[axis] for axis in axes], np.nan)
    else:
        stray = np.stack([_check_layer(capture, layer) for layer in layers])
    with np.errstate(invalid="ignore"):
        values: dict[str, Any] = {"stray": stray, "strays": stray > STRAYS}
    return xr.Dataset(
        {
            name: (axes, values[name], {"units": units, "long_name": meaning})
            for name, (units, meaning) in LABELS.items()
        },
        {axis: mean[axis] for axis in axes},
        {"least": STRAYS},
    )


def _check_layer(capture: Capture, layer: int) -> Float[np.ndarray, "head pair"]:
    profiles = read_profiles(capture, layer)
    there = np.isfinite(profiles.high).any((1, 2, 3))
    learned, seen = split_lags(capture, capture.place("layer", layer), profiles)
    return find_strays(profiles.low[there], profiles.high[there], learned, seen, profiles.scale)


def split_lags(
    capture: Capture, row: int, profiles: Profiles
) -> tuple[Bool[np.ndarray, "pair bin"], Bool[np.ndarray, "pair bin"]]:
    """Find the bins that a range is learned from, and all trusted ones that are seen, of one layer.

    Parameters
    ----------
    row : of the layer among those of the capture
    profiles : of the same layer
    """
    training = capture.training.take([row])
    within = np.isfinite(profiles.high).any((0, 1, 2))
    within &= profiles.stop <= TRUSTED * int(capture.attrs["length"])
    reach, period = training.reach()[0], training.period[0]
    longest = max(int(phase.span[0]) for phase in training.phases)
    first = np.where(np.isinf(reach), np.maximum(period, longest), reach)
    seen = training.split_bins(profiles.lag, profiles.stop)[0][0]
    return (profiles.stop <= first[:, None]) & within, seen & within


def find_strays(
    low: Float[np.ndarray, "sequence head pair bin"],
    high: Float[np.ndarray, "sequence head pair bin"],
    learned: Bool[np.ndarray, "pair bin"],
    seen: Bool[np.ndarray, "pair bin"],
    scale: Float[np.ndarray, "head pair"],
) -> Float[np.ndarray, "head pair"]:
    """Compare every second sequence with the range of the others.

    Parameters
    ----------
    low, high : extremes of the means at the single lags of a bin, logits
    learned, seen : bins that the range is learned from, and those at which it is tested
    scale : standard deviation of the contribution, logits

    Returns
    -------
    largest excursion, in units of ``scale``; NaN with fewer than ``HALF`` sequences a half
    """
    if len(low) < 2 * HALF or not learned.any():
        return np.full(scale.shape, np.nan)
    top = np.where(learned, high[::2].mean(0), -np.inf).max(-1)
    bottom = np.where(learned, low[::2].mean(0), np.inf).min(-1)
    highest = np.where(seen, high[1::2].mean(0), -np.inf).max(-1)
    lowest = np.where(seen, low[1::2].mean(0), np.inf).min(-1)
    with np.errstate(invalid="ignore", divide="ignore"):  # infinite without a bin
        stray = np.maximum(highest - top, bottom - lowest) / scale
    return np.where(np.isfinite(stray), stray, np.nan)
