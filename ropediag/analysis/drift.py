"""Drift: which pairs leave their range at unseen angles, how far, and from which lag on.

``excursions`` computes how far each pair leaves its range at each unseen lag. A pair's largest excursion is
its drift, a test tells whether it is one, and the onset is the lag from which the pair stays outside. Drift
is a description: a range learned below any cut is left past that cut, so it proves no cause.
"""

from weakref import WeakKeyDictionary

import numpy as np
import scipy  # loads scipy.stats when it is first used: half a second that nobody waits for before
import xarray as xr
from jaxtyping import Bool, Float

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.excursions import Excursions, find_excursions, read_profiles
from ropediag.store import Capture

LEAST = 0.25  # in-range standard deviations: a smaller excursion is no drift
FALSE_DISCOVERIES = 0.01  # the rate of false ones among the pairs that are called drifting
SURE = 0.95  # of intervals

LABELS = {
    "drift": ("in-range std", "drift: largest excursion of the mean contribution from its range"),
    "drift_se": ("in-range std", "standard error of the drift"),
    "drift_low": ("in-range std", "lower end of the 95 % interval of the drift; below 0 inside the range"),
    "drift_high": ("in-range std", "upper end of the 95 % interval of the drift"),
    "direction": ("1", "1 where it leaves its range upwards, -1 downwards"),
    "peak_lag": ("tokens", "lag bin of the largest excursion"),
    "scale": ("logit", "standard deviation of the contribution over query-key pairs below the trained reach"),
    "p_value": ("1", "probability of this much in a pair that leaves its range by no more than the least"),
    "q_value": ("1", "lowest rate of false discoveries at which the pair is called drifting"),
    "drifts": ("1", "whether the pair drifts"),
    "reach": ("tokens", "trained reach: first lag at an unseen angle; infinite if there is none"),
    "onset": ("tokens", "first lag from which the pair stays outside its range"),
    "onset_low": ("tokens", "lower end of the 95 % interval of the onset"),
    "onset_high": ("tokens", "upper end of the 95 % interval of the onset"),
}  # fmt: skip
_MEASURED: WeakKeyDictionary[Capture, xr.Dataset] = WeakKeyDictionary()  # much else rests on it
JUDGED = [name for name in LABELS if name not in ("scale", "reach", "q_value", "drifts")]


@diagnostic(
    question="Which pairs' contributions leave their range at angles training did not show, from which lag?",
    high="the mean contribution lies that many in-range standard deviations outside its range at seen lags",
    interval="standard error over sequences, with fewer than 8 over blocks of queries; Student's t, the lags "
    "of a pair by Bonferroni, all pairs by Benjamini and Hochberg",
    source="the claim is that of Liu et al. 2023, arXiv:2310.05209; the measure is ropediag's own",
    shows="drift",
)
def measure_drift(capture: Capture) -> xr.Dataset:
    """Find the pairs that drift; measured once as long as the capture is open, its arrays are read-only.

    Returns
    -------
    xr.Dataset over (layer, query_head, pair)
        ``drift``, ``drift_se``, ``drift_low``, ``drift_high``: the largest excursion at an unseen lag, with
        its 95 % interval; ``direction``, ``peak_lag``: of that excursion; ``scale``: standard deviation below
        the trained reach; ``p_value``, ``q_value``: of the hypothesis that the pair stays within ``LEAST`` of
        its range, alone and among all pairs; ``drifts``; ``onset`` with ``onset_low`` and ``onset_high``, for
        pairs that drift: where the excursion, and the upper and lower end of its 95 % interval, goes above
        ``LEAST`` for good. NaN where a layer has no such head or pair, where the pair meets no unseen lag at
        this length, or does not stay outside. ``reach``: the trained reach, the same in all heads.

    Raises
    ------
    ConfigError
        If the file does not state the training length.
    """
    if capture not in _MEASURED:
        _MEASURED[capture] = _measure(capture)
    return _MEASURED[capture].copy()


def _measure(capture: Capture) -> xr.Dataset:
    length, reach = int(capture.attrs["length"]), capture.training.reach()
    rows = []
    for row, layer in enumerate(capture.values("layer").tolist()):
        profiles = read_profiles(capture, layer)
        rows.append(judge(find_excursions(profiles, length), reach[row]) | {"scale": profiles.scale})
    found = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    found["q_value"] = control_false_discoveries(found["p_value"])
    found["drifts"] = found["q_value"] <= FALSE_DISCOVERIES
    for name in ("onset", "onset_low", "onset_high"):
        found[name] = np.where(found["drifts"], found[name], np.nan)
    found["reach"] = np.where(np.isnan(found["scale"]), np.nan, reach[:, None])  # the same in all heads
    for array in found.values():
        array.setflags(write=False)
    mean = capture["scores/mean"]
    axes = ("layer", "query_head", "pair")
    return xr.Dataset(
        {
            name: (axes, found[name], {"units": units, "long_name": meaning})
            for name, (units, meaning) in LABELS.items()
        },
        {axis: mean[axis] for axis in axes},
        {"least": LEAST},
    )


def flagged_pairs(capture: Capture) -> dict[tuple[int, int], list[int]]:
    """List the pairs that drift, by (layer, query head)."""
    drifts = measure_drift(capture).drifts
    found: dict[tuple[int, int], list[int]] = {}
    for layer, head, pair in np.argwhere(drifts.values).tolist():
        place = (int(drifts.layer[layer]), int(drifts.query_head[head]))
        found.setdefault(place, []).append(int(drifts.pair[pair]))
    return found


def judge(
    excursions: Excursions, reach: Float[np.ndarray, " pair"]
) -> dict[str, Float[np.ndarray, "head pair"]]:
    """Sum up the excursions of one layer: its largest, the test of it, and the onset.

    Parameters
    ----------
    reach : trained reach of each pair, tokens

    Returns
    -------
    dict of (head, pair) arrays, by the names of ``JUDGED``
    """
    value, error = excursions.value, excursions.error
    if not len(excursions.lag):
        return {name: np.full(value.shape[:2], np.nan) for name in JUDGED}
    low, high = value - _margin(excursions), value + _margin(excursions)
    known = np.isfinite(value).any(-1)
    peak = np.where(np.isfinite(value), value, -np.inf).argmax(-1)[..., None]

    def at_peak(array: np.ndarray) -> np.ndarray:
        return np.where(known, np.take_along_axis(array, peak, -1)[..., 0], np.nan)

    found = {
        "drift": np.maximum(at_peak(value), 0.0),
        "drift_se": at_peak(error),
        "drift_low": at_peak(low),
        "drift_high": at_peak(high),
        "direction": at_peak(excursions.direction),
        "peak_lag": np.where(known, excursions.lag[peak[..., 0]].astype(float), np.nan),
        "p_value": assess_excursions(excursions),
    }
    for name, curve in (("onset", value), ("onset_low", high), ("onset_high", low)):
        found[name] = find_onset(curve > LEAST, excursions, reach)
    return found


def _margin(excursions: Excursions) -> Float[np.ndarray, "head pair bin"]:
    """Half of the 95 % interval of each excursion, by Student's t; NaN where no error is known."""
    known = excursions.freedom > 0
    factor = np.where(
        known, scipy.stats.t.ppf((1 + SURE) / 2, np.where(known, excursions.freedom, 1)), np.nan
    )
    return factor * excursions.error


def assess_excursions(excursions: Excursions) -> Float[np.ndarray, "head pair"]:
    """Test that no excursion of a pair exceeds ``LEAST``; NaN where no error is known.

    One-sided Student's t in each bin; the smallest p-value counts, times the number of bins tested.
    """
    smallest = np.ones(excursions.value.shape[:2])
    count = np.zeros(excursions.value.shape[:2], dtype=int)
    for freedom in np.unique(excursions.freedom[excursions.freedom > 0]):
        tested = excursions.freedom == freedom
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (excursions.value[..., tested] - LEAST) / excursions.error[..., tested]
        known = ~np.isnan(t)
        count += known.sum(-1)
        largest = np.where(known, t, -np.inf).max(-1)  # of equal freedom the largest t has the smallest p
        smallest = np.minimum(smallest, scipy.stats.t.sf(largest, freedom))
    return np.where(count > 0, np.minimum(smallest * count, 1.0), np.nan)


def control_false_discoveries(p_value: Float[np.ndarray, "*axis"]) -> Float[np.ndarray, "*axis"]:
    """Adjust p-values for how many there are, after Benjamini and Hochberg 1995; NaN stays NaN."""
    adjusted = np.full(p_value.shape, np.nan)
    known = np.isfinite(p_value)
    if known.any():
        adjusted[known] = scipy.stats.false_discovery_control(p_value[known])
    return adjusted


def find_onset(
    outside: Bool[np.ndarray, "head pair bin"], excursions: Excursions, reach: Float[np.ndarray, " pair"]
) -> Float[np.ndarray, "head pair"]:
    """Find the first lag from which a pair stays outside its range at unseen lags; NaN where it does not.

    Seen lags and bins that are neither do not count. The pair stays outside if it is back inside for no more
    than twice its reach of unseen lags in a row, or a single bin: before each full turn it passes through the
    mirror images of the angles it has seen.

    Parameters
    ----------
    outside : whether the pair is outside its range in each bin
    excursions : whose bins these are
    reach : trained reach of each pair, tokens
    """
    lag, width, bins = excursions.lag, excursions.stop - excursions.lag, len(excursions.lag)
    found, ever = np.full(outside.shape[:-1], np.nan), outside.any(-1)
    inside = np.isfinite(excursions.value[ever]) & ~outside[ever]
    outside = outside[ever]
    lags = np.cumsum(np.pad(inside * width, ((0, 0), (1, 0))), axis=-1)  # unseen lags inside, before each bin
    count = np.cumsum(np.pad(inside, ((0, 0), (1, 0))), axis=-1)
    following = np.where(outside, np.arange(bins), bins)
    following = np.minimum.accumulate(following[:, ::-1], axis=-1)[:, ::-1]
    following = np.concatenate([following[:, 1:], np.full((len(outside), 1), bins)], axis=-1)
    gap = np.take_along_axis(lags, following, -1) - lags[:, 1:]
    between = np.take_along_axis(count, following, -1) - count[:, 1:]
    returns = (gap <= 2 * np.broadcast_to(reach, ever.shape)[ever][:, None]) | (between <= 1)
    stays = np.logical_and.accumulate((returns | ~outside)[:, ::-1], axis=-1)[:, ::-1] & outside
    found[ever] = np.where(stays.any(-1), lag[stays.argmax(-1)].astype(float), np.nan)
    return found
