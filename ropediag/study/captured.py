"""What a capture adds to the row of its model: how its pairs turn, drift and swing."""

from pathlib import Path

import numpy as np
import xarray as xr

from ropediag.analysis.drift import LEAST, measure_drift
from ropediag.analysis.onset_pair import find_onset_pairs
from ropediag.analysis.swing import measure_swing
from ropediag.store import open_capture

LABELS = {
    "rotary_dim": ("1", "rotated dimensions of a head"),
    "period": ("token", "period of each pair as the model is, the same in all layers that rotate"),
    "drift": ("in-range std", "drift of each pair, mean over the heads in which it meets unseen lags"),
    "drifting": ("1", "share of those heads in which each pair has left its range by the measured limit"),
    "swing": ("logits", "swing of each pair, sum over the heads of the model"),
    "onset_pair": ("1", "fastest pair that drifts, mean over the heads of the model"),
    "onset_pair_low": ("1", "lower end of its 95 % interval"),
    "onset_pair_high": ("1", "upper end of its 95 % interval"),
}


def describe_capture(path: Path, limit: float = np.nan) -> xr.Dataset:
    """Sum up how the pairs of a captured model turn, drift and swing.

    Parameters
    ----------
    path : of the capture
    limit : measured limit of the model, tokens; NaN where it has none

    Returns
    -------
    Dataset of the names of ``LABELS``; ``period``, ``drift``, ``drifting`` and ``swing`` over ``pair``, the
    drift NaN for pairs that meet no unseen lag. Where layers rotate differently, periods are those of the
    first that rotates.
    """
    with open_capture(path) as capture:
        drift = measure_drift(capture)
        onsets = find_onset_pairs(drift, capture.critical_pair)
        spec = capture.spec()
        swing = measure_swing(capture).swing.sum(("layer", "query_head"), min_count=1)
    turning = np.isfinite(spec.inv_freq)
    own = spec.inv_freq[turning.any(1).argmax()]
    with np.errstate(divide="ignore"):
        period = 2 * np.pi / own
    heads = ("layer", "query_head")
    left = (drift.onset <= limit).where(drift.drift.notnull() & np.isfinite(limit)).mean(heads)
    values = {
        "rotary_dim": ((), 2 * int(np.isfinite(own).sum())),
        "period": ("pair", period),
        "drift": ("pair", drift.drift.mean(heads).values),
        "drifting": ("pair", left.values),
        "swing": ("pair", swing.values),
        **{name: ((), float(onsets[f"model_{name}"])) for name in LABELS if name.startswith("onset")},
    }
    described = {
        name: (axes, value, dict(zip(("units", "long_name"), LABELS[name], strict=True)))
        for name, (axes, value) in values.items()
    }
    found = xr.Dataset(described, {"pair": np.arange(len(own))})
    found.drift.attrs["least"] = LEAST
    return found
