"""B_m bounds: up to which lag the rotation lets attention prefer a similar key to a random one."""

import numpy as np
import xarray as xr
from jaxtyping import Float

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.labelled import label, make_axis, make_geometry_axes
from ropediag.retrieval_bound import bm_bound, bm_curve
from ropediag.rope import RopeSpec
from ropediag.schema import lag_edges

SEARCHED = 2**20  # tokens, or the length if that is longer
BLOCK = 512  # lags


@diagnostic(
    question="Up to which lag can attention prefer a key similar to the query to a random one?",
    high="at that lag a similar key is preferred by as much; below 0 a random one is",
    interval="none: it follows from the frequencies",
    source="Men et al. 2024, arXiv:2405.14591: sum over pairs of cos(m inv_freq), components i.i.d.",
    shows="smallest",
    geometry=True,
)
def measure_bm_bounds(spec: RopeSpec, length: int) -> xr.Dataset:
    """Evaluate B_m at every lag below a length, as if every layer saw all of them.

    In units of twice a component's variance: B_0 is the number of pairs.

    Returns
    -------
    xr.Dataset
        ``curve`` (layer, lag): at the lower edge of the lag bin. ``smallest`` (layer, lag): over all lags of
        the bin. ``bound`` (layer): first lag with B_m < 0, NaN where there is none below 2^20 tokens or the
        length. ``negative_share`` (layer): share of the lags below the length with B_m < 0.
    """
    edges = np.array(lag_edges(length))
    rows, place = np.unique(np.nan_to_num(spec.inv_freq, nan=-1.0), axis=0, return_inverse=True)
    found: dict[str, list[np.ndarray | float]] = {}
    for row in np.where(rows < 0, np.nan, rows):  # layers that turn alike once
        turns = bool(np.isfinite(row).any())
        whole = sum_cosines(row, length) if turns else np.full(length, np.nan)
        bound = bm_bound(row, max(length, SEARCHED)) if turns else None
        found.setdefault("curve", []).append(bm_curve(row, edges) if turns else whole[edges])
        found.setdefault("smallest", []).append(np.minimum.reduceat(whole, edges))
        found.setdefault("bound", []).append(np.nan if bound is None else float(bound))
        found.setdefault("negative_share", []).append(float(np.mean(whole < 0)) if turns else np.nan)
    axes = {"layer": make_geometry_axes(*spec.inv_freq.shape)["layer"], "lag": make_axis("lag", edges)}
    arrays = {name: np.array(parts)[place] for name, parts in found.items()}
    labelled = {
        name: xr.DataArray(values, {dim: axes[dim] for dim in dims}, dims=dims)
        for name, values in arrays.items()
        for dims in [("layer", "lag")[: values.ndim]]
    }
    return label(
        {
            "curve": (labelled["curve"], "1", "B_m at the lower edge of the lag bin"),
            "smallest": (labelled["smallest"], "1", "smallest B_m in the lag bin"),
            "bound": (labelled["bound"], "tokens", "first lag with B_m < 0"),
            "negative_share": (
                labelled["negative_share"],
                "1",
                f"share of lags below {length:,} with B_m < 0",
            ),
        }
    )


def sum_cosines(inv_freq: Float[np.ndarray, " pair"], length: int) -> Float[np.ndarray, " lag"]:
    """Sum ``cos(lag * inv_freq)`` over the pairs, at every lag below ``length``; NaN pads the pairs.

    By the addition theorem, blocks of lags are matrix products.
    """
    turning = inv_freq[np.isfinite(inv_freq)]
    start = np.arange(0, length, BLOCK)[:, None] * turning
    within = (np.arange(BLOCK)[:, None] * turning).T
    return (np.cos(start) @ np.cos(within) - np.sin(start) @ np.sin(within)).ravel()[:length]
