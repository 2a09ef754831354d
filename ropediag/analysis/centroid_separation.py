"""Centroid separation: how far the mean query and the mean key of a head stand apart, by lag."""

import numpy as np
import xarray as xr
from jaxtyping import Complex, Float

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.heads import key_head_index
from ropediag.analysis.labelled import average, label, make_axis
from ropediag.rope import average_turns
from ropediag.store import Capture

AXES = ("sequence", "layer", "query_head", "coarse_lag")


@diagnostic(
    question="Do a head's queries and keys stay in clusters apart, or do long lags bring them together?",
    high="mean query and mean key point the same way at this lag; at -1 they point opposite ways",
    interval="standard error over sequences; none with a single one",
    source="after Wertheimer et al. 2026, arXiv:2603.18017 (clusters); both measures are ropediag's",
    shows="cosine",
    between_sequences=True,
)
def measure_centroid_separation(capture: Capture) -> xr.Dataset:
    """Turn the mean query against the mean key by the lag, over the channels that rotate.

    Means are those of the vectors before the rotation, over all positions of a sequence; the lag turns the
    mean, so this is the geometry of the centres of the two clusters. Averaged over all lags of a bin.

    Returns
    -------
    xr.Dataset, by (layer, query_head, coarse_lag), each with its ``_se``
        ``cosine``: of the angle between mean query and mean key. ``separation``: the distance between the
        two, over the root of the summed mean square distances of queries and keys from their own mean.
    """
    owner = key_head_index(capture)
    query, query_spread = _read_clusters(capture, "query")
    key, key_spread = (part[:, :, owner] for part in _read_clusters(capture, "key"))
    edges = capture.values("coarse_lag")
    turns = average_turns(capture.values("rope/inv_freq"), edges, int(capture.attrs["length"]))
    inner = np.einsum("slhp,lpm->slhm", query * key.conj(), turns).real
    lengths = [(abs(side) ** 2).sum(-1)[..., None] for side in (query, key)]
    spread = (query_spread + key_spread)[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = inner / np.sqrt(lengths[0] * lengths[1])
        apart = np.sqrt(np.maximum(lengths[0] + lengths[1] - 2 * inner, 0.0) / spread)
    axes = {name: capture["vectors/query_norm"][name] for name in AXES[:3]}
    axes["coarse_lag"] = make_axis("coarse_lag", edges)
    cosine_mean, cosine_error = average(xr.DataArray(cosine, axes, dims=AXES), "sequence")
    apart_mean, apart_error = average(xr.DataArray(apart, axes, dims=AXES), "sequence")
    return label(
        {
            "cosine": (cosine_mean, "1", "cosine between mean query and mean key"),
            "cosine_se": (cosine_error, "1", "standard error of the cosine over sequences"),
            "separation": (apart_mean, "1", "distance of mean query and mean key over their spread"),
            "separation_se": (apart_error, "1", "standard error of the separation over sequences"),
        }
    )


def _read_clusters(
    capture: Capture, side: str
) -> tuple[Complex[np.ndarray, "sequence layer head pair"], Float[np.ndarray, "sequence layer head"]]:
    """Mean vectors before rotation as complex numbers by pair, 0 where there is no pair, and their spread.

    The spread is the mean square distance from the mean, NaN where a layer has no such head or no pairs.
    """
    norm, offset, phase = (
        capture.values(f"vectors/{side}_{name}").astype(float) for name in ("norm", "offset", "phase")
    )
    widths = np.diff(capture.values("norm_bin"), append=int(capture.attrs["length"]))
    square = norm**2 @ (widths / widths.sum())
    real = np.isfinite(square)
    around = np.where(real, square * (1 - offset**2), 0.0).sum(-1)
    mean = np.where(real, np.sqrt(square) * offset * np.exp(1j * phase), 0.0)
    return mean, np.where(real.any(-1), around, np.nan)
