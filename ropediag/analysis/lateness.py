"""Lateness: how far past the training length an untuned model breaks, and what that makes of a law.

Past its training length an untuned model meets new angles at once, whatever share of a turn counts as
trained; its loss passes a threshold later. A tuned model is late for the same reason, so a factor between
measured and predicted limits need not be one of the law. Two checks tell them apart: the factor that is left
once each limit is divided by the lateness of the model's parent, and what a fitted share of a turn does when
the threshold changes, of which the pairs know nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from ropediag.analysis.laws import list_models
from ropediag.analysis.trained_turn import (
    fit_kappa,
    kappa_interval,
    predict_by_stretch,
    predict_limits,
)


def read_limit(curve: xr.DataArray, threshold: float) -> float:
    """Read a limit off a curve of the excess, tokens; NaN where there is none.

    Parameters
    ----------
    curve : excess by ``position``, nats, as the table of a study keeps it: smoothed, NaN beyond its end
    threshold : nats; the limit is the first position from which the curve stays above it up to twice as far

    Notes
    -----
    ``measure_limit`` sees every position and sequence; this is for thresholds that a study was not made for.
    """
    known = curve.dropna("position")
    position, excess = known.position.values.astype(float), known.values
    for index in np.flatnonzero(excess > threshold):
        if (excess[(position >= position[index]) & (position <= 2 * position[index])] > threshold).all():
            if index == 0:
                return float(position[0])
            ends = slice(index - 1, index + 1)
            return float(np.exp(np.interp(threshold, excess[ends], np.log(position[ends]))))
    return np.nan


def compare_thresholds(table: xr.Dataset, thresholds: Sequence[float]) -> xr.Dataset:
    """Measure all limits of a study anew at several thresholds, and fit a share of a turn to each.

    Parameters
    ----------
    table : of a study that captures its models, as ``open_study`` gives it
    thresholds : nats

    Returns
    -------
    xr.Dataset over ``threshold``; means are geometric, over models that have the limit
        ``lateness``: limit of the untuned models over their training length; ``kappa`` with its interval,
        fitted to all tuned models; ``ratio``: their limit over the paper's law without its ceiling; ``left``:
        the same after each limit is divided by its parent's lateness; ``stretched``: their limit over that of
        ``predict_by_stretch``; ``count``: tuned models with a limit
    """
    models = list_models(table)
    plain = predict_limits(models)
    rows = []
    for threshold in thresholds:
        found = {
            str(curve.model.item()): read_limit(curve, threshold)
            for curve in table.excess.transpose("model", ...)
        }
        moved = [replace(one, measured=found[one.name], parent_limit=found[one.parent]) for one in models]
        ratio = np.array([one.measured for one in moved]) / plain
        late = np.array([one.lateness for one in moved])
        lateness = {one.parent: one.lateness for one in moved}
        low, high = kappa_interval(moved)
        rows.append(
            {
                "lateness": _mean(np.array(list(lateness.values()))),
                "kappa": fit_kappa(moved),
                "kappa_low": low,
                "kappa_high": high,
                "ratio": _mean(ratio),
                "left": _mean(ratio / late),
                "stretched": _mean(np.array([one.measured for one in moved]) / predict_by_stretch(moved)),
                "count": int(np.isfinite(ratio).sum()),
            }
        )
    return xr.Dataset(
        {name: ("threshold", [row[name] for row in rows]) for name in rows[0]},
        {"threshold": ("threshold", list(thresholds), {"units": "nats"})},
    )


def _mean(values: np.ndarray) -> float:
    return float(np.exp(np.nanmean(np.log(values))))
