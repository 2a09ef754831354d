"""Seen lags: at which lags each pair stands at angles that training showed, and at which it does not."""

import numpy as np
import xarray as xr
from jaxtyping import Float

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.labelled import label, make_geometry_axes
from ropediag.prediction import Prediction
from ropediag.theory.training import Training, unseen_intervals


@diagnostic(
    question="Which lags turn each pair to angles that training never showed?",
    high="training showed the pair all lags up to this one; infinite where it made a full turn",
    interval="none: it follows from the frequencies",
    source="the trained reach is ropediag's; a full turn as the measure of training is Liu et al. 2023, "
    "arXiv:2310.05209",
    shows="reach",
    training=True,
)
def measure_seen_lags(training: Training, length: int) -> xr.Dataset:
    """List the unseen lags of each pair below a length: from the reach on, and again in every later turn.

    Parameters
    ----------
    length : tokens

    Returns
    -------
    xr.Dataset
        ``reach``, ``period`` (layer, pair): tokens. ``unseen_start``, ``unseen_stop`` (layer, pair, turn):
        half-open intervals of unseen lags, NaN where there are fewer. ``predicted_limit``, ``first_reach``
        (no axis): NaN where there is none.
    """
    return _tabulate(
        training.reach(), training.period, length, training.predicted_limit().value, training.first_reach()
    )


def predict_seen_lags(prediction: Prediction, length: int) -> xr.Dataset:
    """List the unseen lags that ``ropediag predict`` expects of a setting, as a model of one layer.

    Parameters
    ----------
    prediction : what ``predict`` gave
    length : tokens

    Returns
    -------
    xr.Dataset, as ``measure_seen_lags`` gives it
    """
    reach = np.array([np.inf if each is None else each for each in prediction.reach])
    with np.errstate(divide="ignore"):
        period = 2 * np.pi / np.array(prediction.inv_freq)
    return _tabulate(reach[None], period[None], length, prediction.predicted_limit, prediction.first_reach)


def _tabulate(
    reach: Float[np.ndarray, "layer pair"],
    period: Float[np.ndarray, "layer pair"],
    length: int,
    limit: float | None,
    first: float | None,
) -> xr.Dataset:
    layers, pairs = reach.shape
    found = {
        (layer, pair): unseen_intervals(float(reach[layer, pair]), float(period[layer, pair]), length)
        for layer in range(layers)
        for pair in range(pairs)
    }
    turns = max(map(len, found.values()), default=0)
    ends = np.full((2, layers, pairs, max(turns, 1)), np.nan)
    for (layer, pair), intervals in found.items():
        for turn, interval in enumerate(intervals):
            ends[:, layer, pair, turn] = interval
    axes = make_geometry_axes(layers, pairs)
    turn_axis = ("turn", np.arange(ends.shape[-1]), {"units": "1", "long_name": "whole turns before"})
    by_turn = [xr.DataArray(each, axes | {"turn": turn_axis}, ("layer", "pair", "turn")) for each in ends]
    reaches, periods = (xr.DataArray(each, axes, ("layer", "pair")) for each in (reach, period))
    return label(
        {
            "reach": (reaches, "tokens", "trained reach: first lag at an unseen angle"),
            "period": (periods, "tokens", "tokens per turn"),
            "unseen_start": (by_turn[0], "tokens", "first lag of each stretch at unseen angles"),
            "unseen_stop": (by_turn[1], "tokens", "first lag past each stretch at unseen angles"),
            "predicted_limit": (_scalar(limit), "tokens", "predicted limit"),
            "first_reach": (_scalar(first), "tokens", "first reach"),
        }
    ).assign_attrs(length=length)


def _scalar(value: float | None) -> xr.DataArray:
    return xr.DataArray(np.nan if value is None else float(value))
