"""Exposure: how often training showed each angle of a pair, counted over its query-key pairs."""

import numpy as np
import xarray as xr
from jaxtyping import Float

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.labelled import label, make_geometry_axes
from ropediag.analysis.new_angles import check_train_len, trained_inv_freq
from ropediag.rope import RopeSpec

BINS = 16  # of the turn
THIN = 0.5  # of an even share
AT_ONCE = 2**16  # lags


@diagnostic(
    question="At which angles has a pair been trained often, and how much of this length lies elsewhere?",
    high="that share of the query-key pairs at this length stands at angles that training hardly showed",
    interval="none: it follows from the frequencies",
    source="after LongRoPE2, arXiv:2502.20082 (slow pairs are under-trained); the measure is ropediag's",
    shows="thin_share",
    geometry=True,
)
def measure_exposure(
    spec: RopeSpec, length: int, trained: Float[np.ndarray, "layer pair"] | None = None
) -> xr.Dataset:
    """Count query-key pairs by the angle of their lag, in 16 bins, in pretraining and within a length.

    A sequence of T tokens has T - m pairs at lag m, so short lags are trained most: one full turn within the
    training length is not even exposure. As if every layer saw every lag.

    Parameters
    ----------
    length : tokens
    trained : radians per token in pretraining, for models scaled since; see ``trained_inv_freq``

    Returns
    -------
    xr.Dataset
        ``exposure`` (layer, pair, angle): pairs of training in the bin, over those of an even share.
        ``least`` (layer, pair): its smallest value; 0 where a bin was never shown. ``thin_share`` (layer,
        pair): share of the query-key pairs within ``length`` in bins of less than half an even share.

    Raises
    ------
    ConfigError
        If the training length is not known.
    """
    before = trained_inv_freq(spec) if trained is None else trained
    now = np.array(spec.inv_freq)
    real = np.isfinite(now) & np.isfinite(before)
    both, place = np.unique(np.stack([before[real], now[real]]), axis=1, return_inverse=True)
    shown = BINS * share_angles(both[0], check_train_len(spec))
    met = share_angles(both[1], length)
    exposure = np.full((*now.shape, BINS), np.nan)
    exposure[real] = shown[place]
    thin = np.full(now.shape, np.nan)
    thin[real] = (met * (shown < THIN)).sum(-1)[place]
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


def share_angles(inv_freq: Float[np.ndarray, " pair"], length: int) -> Float[np.ndarray, "pair bin"]:
    """Share of the query-key pairs of ``length`` tokens at each of 16 equal bins of the turn."""
    counts = np.zeros((len(inv_freq), BINS))
    first = BINS * np.arange(len(inv_freq))[:, None]
    for start in range(0, length, AT_ONCE):
        lags = np.arange(start, min(start + AT_ONCE, length))
        turns = np.multiply.outer(inv_freq / (2 * np.pi), lags)
        place = np.minimum(((turns % 1.0) * BINS).astype(np.int64), BINS - 1)
        weights = np.broadcast_to(length - lags, place.shape).astype(float)
        flat = np.bincount((place + first).ravel(), weights=weights.ravel(), minlength=counts.size)
        counts += flat.reshape(counts.shape)
    return counts / (length * (length + 1) / 2)
