"""Overlay: what several captures showed, side by side on an axis ``capture``, to be drawn over each other.

Takes what diagnostics measured on each capture and measures nothing anew. Captures that differ in length or
training length have points of their own, so positions have the axes (capture, point) too; a curve with fewer
points ends in NaN.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from ropediag.analysis.limit import THRESHOLD
from ropediag.errors import ConfigError

LIMITS = ("train_len", "predicted_limit", "measured_limit", "measured_low", "measured_high")
AXES = {"position": ("excess", "excess_se"), "query_position": ("before_mean", "past_mean")}
PLACES = {"position": "position of the predicted token", "query_position": "position of the query"}
MEANINGS = {
    "excess": ("nats per token", "excess loss: full context less the training length's"),
    "excess_se": ("nats per token", "standard error of the excess over sequences"),
    "before_mean": ("logit", "partial logit of the pairs before the critical one"),
    "past_mean": ("logit", "partial logit of the critical pair and slower ones"),
}


def overlay_breakdowns(breakdowns: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Lay the excess and the partial logits of several captures over each other.

    Parameters
    ----------
    breakdowns : what to call each capture -> what ``ropediag.analysis.breakdown`` measured on it

    Returns
    -------
    xr.Dataset, every variable with ``units`` and ``long_name``
        ``excess`` and ``excess_se`` (capture, point), nats, at ``position``, tokens, which is ``multiple``
        times the training length; NaN throughout where a capture has no windowed loss. ``before_mean`` and
        ``past_mean`` (capture, query_point), logit, at ``query_position`` and ``query_multiple``.
        ``train_len``, ``predicted_limit``, ``measured_limit``, ``measured_low``, ``measured_high`` (capture):
        tokens, NaN where there is none. Attribute ``threshold``: of the excess at the measured limit, nats.

    Raises
    ------
    ConfigError
        If there is nothing to lay over each other.
    """
    if not breakdowns:
        raise ConfigError("curves over each other take at least one capture: got none.")
    first = next(iter(breakdowns.values()))
    limits = {name: np.array([float(each[name]) for each in breakdowns.values()]) for name in LIMITS}
    found: dict[str, Any] = {name: ("capture", values, first[name].attrs) for name, values in limits.items()}
    for axis, names in AXES.items():
        prefix = axis.removesuffix("position")
        dims = ("capture", f"{prefix}point")
        places = [  # none yet of a capture that grows
            each[axis].values if axis in each.dims else np.full(1, np.nan) for each in breakdowns.values()
        ]
        positions = _pad(places)
        multiple = {"units": "1", "long_name": f"{PLACES[axis]}, over the training length"}
        found[axis] = (dims, positions, {"units": "tokens", "long_name": PLACES[axis]})
        found[f"{prefix}multiple"] = (dims, positions / limits["train_len"][:, None], multiple)
        for name in names:
            rows = [
                each[name].values if name in each else np.full(len(place), np.nan)
                for each, place in zip(breakdowns.values(), places, strict=True)
            ]
            units, meaning = MEANINGS[name]
            found[name] = (dims, _pad(rows), {"units": units, "long_name": meaning})
    return xr.Dataset(found, {"capture": list(breakdowns)}, {"threshold": THRESHOLD})


def overlay_drifts(drifts: Mapping[str, xr.Dataset], critical_pairs: Mapping[str, int | None]) -> xr.Dataset:
    """Lay the drift by pair of several captures over each other.

    Parameters
    ----------
    drifts : what to call each capture -> what ``ropediag.analysis.drift`` measured on it
    critical_pairs : by the same names; None where there is none

    Returns
    -------
    xr.Dataset over (capture, pair), in-range standard deviations
        ``largest``: of all layers and heads; ``mean``: over all of them that have the pair; ``drifting``: in
        how many of them the pair drifts. NaN where a model has no such pair. ``critical_pair`` (capture).
    """
    rows = [_reduce_drift(found.drift, found.drifts) for found in drifts.values()]
    names = xr.DataArray(list(drifts), dims="capture", name="capture")
    table = xr.concat(rows, names, join="outer", coords="minimal")
    known = [critical_pairs[name] for name in drifts]
    critical = [np.nan if pair is None else float(pair) for pair in known]
    attrs = {"units": "1", "long_name": "first pair without a full turn in training"}
    return table.assign(critical_pair=("capture", critical, attrs))


def _reduce_drift(drift: xr.DataArray, drifts: xr.DataArray) -> xr.Dataset:
    heads = ("layer", "query_head")
    table = {
        "largest": (drift.max(heads), "in-range std", "drift, largest of all layers and heads"),
        "mean": (drift.mean(heads), "in-range std", "drift, mean over layers and heads"),
        "drifting": (drifts.sum(heads).astype(float), "1", "heads in which the pair drifts"),
    }
    return xr.Dataset(
        {
            name: values.assign_attrs(units=units, long_name=meaning)
            for name, (values, units, meaning) in table.items()
        }
    )


def _pad(rows: list[np.ndarray]) -> Float[np.ndarray, "capture point"]:
    """Stack rows of different lengths, the shorter ones filled up with NaN."""
    padded = np.full((len(rows), max(map(len, rows))), np.nan)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded
