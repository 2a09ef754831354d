"""Contribution share: which pairs a head's logit is made of, inside the trained window and beyond it."""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.labelled import label
from ropediag.analysis.window import split_lags, trained_length
from ropediag.store import Capture

AXES = ("layer", "query_head", "pair")
SIDES = {"inside": "within the training length", "beyond": "beyond the training length"}


@diagnostic(
    question="Which pairs is a head's logit made of, at the lags of training and at those beyond?",
    high="the pair carries that share of the sum over all pairs of the head; the shares sum to 1",
    interval="of the share of the mean, a jackknife over the capture's replicates; of the variance, none",
    source="the usual split of a logit by pair; weighed over exact lag bins, which is ropediag's choice",
    shows="variance_share_beyond",
)
def measure_contribution_share(capture: Capture) -> xr.Dataset:
    """Share of each pair in the sum over pairs of |mean contribution| and in that of the variance.

    Variances of pairs add up to that of the logit only where pairs are uncorrelated, so this is a share of
    the sum of variances, not of the variance of the logit. Both weigh lag bins by their query-key pairs; a
    bin that the training length cuts in two is left out.

    Returns
    -------
    xr.Dataset, by (layer, query_head, pair)
        ``variance_share_inside``, ``variance_share_beyond``: variance over all query-key pairs of the
        window, so spread within lags and between them. ``mean_share_inside``, ``mean_share_beyond`` and
        their ``_se``: absolute mean within a lag bin (2 per doubling), averaged over the bins; a pair that
        turns within a bin averages out there. NaN where the capture has no such lags.

    Raises
    ------
    ConfigError
        If the capture does not state its training length.
    """
    trained, length = trained_length(capture), int(capture.attrs["length"])
    fine = split_lags(capture.values("lag"), length, trained)
    coarse = split_lags(capture.values("coarse_lag"), length, trained)
    count, mean, std, replicates, sizes = (
        capture[f"scores/{name}"] for name in ("count", "mean", "std", "replicate_mean", "replicate_count")
    )
    found: dict[str, list[np.ndarray]] = {}
    for layer in range(capture.sizes["layer"]):  # one layer in memory at a time
        lags = [array[layer].values for array in (count, mean, std)]
        groups = [array[:, layer].values for array in (replicates, sizes)]
        for side, fine_lags, coarse_lags in zip(SIDES, fine, coarse, strict=True):
            variance = share_variance(*(array[..., fine_lags] for array in lags))
            share, error = share_mean(*(array[..., coarse_lags] for array in groups))
            for name, values in (("variance_share", variance), ("mean_share", share), ("se", error)):
                found.setdefault(f"{name}_{side}", []).append(values)
    axes = {name: mean[name] for name in AXES}
    stacked = {name: xr.DataArray(np.stack(parts), axes, dims=AXES) for name, parts in found.items()}
    table: dict[str, tuple[xr.DataArray, str, str]] = {}
    for side, where in SIDES.items():
        table |= {
            f"variance_share_{side}": (
                stacked[f"variance_share_{side}"],
                "1",
                f"share of the summed variances of the pairs, {where}",
            ),
            f"mean_share_{side}": (
                stacked[f"mean_share_{side}"],
                "1",
                f"share of the summed |mean contributions| of the pairs, {where}",
            ),
            f"mean_share_{side}_se": (
                stacked[f"se_{side}"],
                "1",
                f"standard error of the share of the |mean contributions|, {where}",
            ),
        }
    return label(table)


def share_variance(
    count: Int[np.ndarray, " lag"],
    mean: Float[np.ndarray, "query_head pair lag"],
    std: Float[np.ndarray, "query_head pair lag"],
) -> Float[np.ndarray, "query_head pair"]:
    """Share of each pair in the sum of the variances, over all query-key pairs of these lag bins."""
    held = count > 0
    if not held.any():
        return np.full(mean.shape[:2], np.nan)
    weight = count[held] / count[held].sum()
    centre, spread = mean[..., held].astype(float), std[..., held].astype(float)
    variance = (centre**2 + spread**2) @ weight - (centre @ weight) ** 2
    return _share(variance)


def share_mean(
    mean: Float[np.ndarray, "replicate query_head pair lag"], count: Int[np.ndarray, "replicate lag"]
) -> tuple[Float[np.ndarray, "query_head pair"], Float[np.ndarray, "query_head pair"]]:
    """Share of each pair in the sum of the |mean contributions|, and its jackknife error over replicates.

    The mean over bins of |mean of the bin|, weighed by query-key pairs, is a sum of |sums|.
    """
    held = count.sum(-1) > 0
    shape = mean.shape[1:3]
    if not held.any():
        return np.full(shape, np.nan), np.full(shape, np.nan)
    mean, count = mean[held].astype(float), count[held]
    sums = np.where(np.isfinite(mean), mean, 0.0) * count[:, None, None]
    lacking = ~np.isfinite(mean).any((0, 3))
    total = sums.sum(0)
    share = _share(np.where(lacking, np.nan, abs(total).sum(-1)))
    replicates = len(sums)
    if replicates < 2:
        return share, np.full(shape, np.nan)
    without = _share(np.where(lacking, np.nan, abs(total - sums).sum(-1)))
    squares = ((without - without.mean(0)) ** 2).sum(0)
    return share, np.sqrt((replicates - 1) / replicates * squares)


def _share(values: Float[np.ndarray, "*any pair"]) -> Float[np.ndarray, "*any pair"]:
    total = np.nansum(values, axis=-1, keepdims=True)
    return values / np.where(total > 0, total, np.nan)
