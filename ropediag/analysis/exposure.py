"""Exposure: how often training showed each angle of a pair, counted over its query-key pairs."""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.labelled import label, make_geometry_axes
from ropediag.theory.training import ALL_LAGS, Training

BINS = 16  # of the turn
THIN = 0.5  # of an even share
AT_ONCE = 2**16  # lags


@diagnostic(
    question="At which angles has a pair been trained often, and how much of this length lies elsewhere?",
    high="that share of the query-key pairs at this length stands at angles that training hardly showed",
    interval="none: it follows from the frequencies",
    source="after LongRoPE2, arXiv:2502.20082 (slow pairs are under-trained); the measure is ropediag's",
    shows="thin_share",
    training=True,
)
def measure_exposure(training: Training, length: int) -> xr.Dataset:
    """Count query-key pairs by the angle of their lag, in 16 bins, in training and within a length.

    A sequence of T tokens has T - m pairs at lag m, so short lags are trained most: one full turn within the
    training length is not even exposure. Of several phases, each bin counts in the one that showed it most.

    Parameters
    ----------
    length : tokens

    Returns
    -------
    xr.Dataset
        ``exposure`` (layer, pair, angle): pairs of training in the bin, over those of an even share.
        ``least`` (layer, pair): its smallest value; 0 where a bin was never shown. ``thin_share`` (layer,
        pair): share of the query-key pairs within ``length`` in bins of less than half an even share.
    """
    now = training.inv_freq
    shown = np.max(
        [_share_rows(phase.inv_freq, phase.length, phase.span) for phase in training.phases], axis=0
    )
    exposure = BINS * shown
    window = np.where(training.window == ALL_LAGS, length, np.minimum(training.window, length))
    thin = np.where(np.isnan(now), np.nan, (_share_rows(now, length, window) * (exposure < THIN)).sum(-1))
    axes = make_geometry_axes(*now.shape)
    edges = 2 * np.pi * np.arange(BINS) / BINS
    angle = ("angle", edges, {"units": "rad", "long_name": "lower edge of the bin of angles"})
    labelled = xr.DataArray(exposure, axes | {"angle": angle}, dims=("layer", "pair", "angle"))
    return label(
        {
            "exposure": (labelled, "1", "query-key pairs of training at the angle, over an even share"),
            "least": (labelled.min("angle"), "1", "exposure of the angle that training showed least"),
            "thin_share": (
                xr.DataArray(thin, axes, dims=("layer", "pair")),
                "1",
                f"share of query-key pairs within {length:,} tokens at thinly trained angles",
            ),
        }
    )


def _share_rows(
    inv_freq: Float[np.ndarray, "layer pair"], length: int, span: Int[np.ndarray, " layer"]
) -> Float[np.ndarray, "layer pair bin"]:
    """Share of the query-key pairs in each bin of angles; equal pairs of layers are counted once."""
    found = np.full((*inv_freq.shape, BINS), np.nan)
    for reach in np.unique(span).tolist():
        chosen = np.isfinite(inv_freq) & (span == reach)[:, None]
        if chosen.any():
            different, place = np.unique(inv_freq[chosen], return_inverse=True)
            found[chosen] = share_angles(different, length, reach)[place]
    return found


def share_angles(
    inv_freq: Float[np.ndarray, " pair"], length: int, span: int | None = None
) -> Float[np.ndarray, "pair bin"]:
    """Compute the share of query-key pairs in each of 16 bins of the turn, at lags below ``span``."""
    span = length if span is None else min(span, length)
    counts = np.zeros((len(inv_freq), BINS))
    first = BINS * np.arange(len(inv_freq))[:, None]
    for start in range(0, span, AT_ONCE):
        lags = np.arange(start, min(start + AT_ONCE, span))
        turns = np.multiply.outer(inv_freq / (2 * np.pi), lags)
        place = np.minimum(((turns % 1.0) * BINS).astype(np.int64), BINS - 1)
        weights = np.broadcast_to(length - lags, place.shape).astype(float)
        flat = np.bincount((place + first).ravel(), weights=weights.ravel(), minlength=counts.size)
        counts += flat.reshape(counts.shape)
    return counts / (span * length - span * (span - 1) / 2)
