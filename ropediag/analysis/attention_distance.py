"""Attention distance: where a head's weights lie by lag, for queries within and past the training length."""

import numpy as np
import xarray as xr

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.labelled import label
from ropediag.analysis.rows import average_rows, split_queries
from ropediag.analysis.window import split_lags, trained_length, visible_lags
from ropediag.store import Capture

TOGETHER = 4  # layers in memory at a time


@diagnostic(
    question="Do queries past the training length attend at the lags that training showed?",
    high="so much of a query's attention lies in the lag bin",
    interval="standard error between sequences, with fewer than 8 between sampled queries",
    source="Zhong et al. 2025, arXiv:2406.13282: attention by distance against that of training",
    shows="mass_past",
)
def measure_attention_distance(capture: Capture) -> xr.Dataset:
    """Average the attention mass by lag over the sampled queries on both sides of the training length.

    Returns
    -------
    xr.Dataset
        ``mass_inside``, ``mass_past`` (layer, query_head, lag), each with its ``_se``: of queries within the
        training length, and past it; a bin that a query does not reach counts as 0.
        ``far_mass``, ``far_mass_se`` (layer, query_head): mass at lags beyond the training length, of queries
        past it. ``far_keys`` (layer): what it would be if all visible keys had the same weight.
        ``overlap`` (layer, query_head): sum over the lags of training of the smaller of the two masses, each
        scaled to sum to 1 there; 1 if their shapes agree (ropediag's own measure).

    Raises
    ------
    ConfigError
        If the capture does not state its training length.
    """
    trained, length = trained_length(capture), int(capture.attrs["length"])
    inside, beyond = split_lags(capture.values("lag"), length, trained)
    groups = split_queries(capture["rows/query_position"], trained)
    past = groups.isel(side=1)
    mass, layers = capture["rows/mass"], []
    for layer in range(0, capture.sizes["layer"], TOGETHER):
        one = mass[:, layer : layer + TOGETHER].astype(float)
        far = one[..., beyond].sum("lag", skipna=False)
        layers.append((*average_rows(one, groups), *average_rows(far, past)))
    means, errors, far_mean, far_error = (xr.concat(parts, "layer") for parts in zip(*layers, strict=True))
    (mass_inside, inside_error), (mass_past, past_error) = (
        (means.isel(side=side), errors.isel(side=side)) for side in (0, 1)
    )
    if not beyond.any():
        far_mean, far_error = far_mean * np.nan, far_error * np.nan
    bins = mass_past.lag[inside]
    unit = "1"
    return label(
        {
            "mass_inside": (mass_inside, unit, f"attention mass of queries before position {trained:,}"),
            "mass_inside_se": (inside_error, unit, "standard error of that mass"),
            "mass_past": (mass_past, unit, f"attention mass of queries from position {trained:,} on"),
            "mass_past_se": (past_error, unit, "standard error of that mass"),
            "far_mass": (
                far_mean,
                unit,
                f"mass at lags from {trained:,} on, of queries past that position",
            ),
            "far_mass_se": (far_error, unit, "standard error of that mass"),
            "far_keys": (_share_far(capture, past, trained), unit, "share of keys at those lags"),
            "overlap": (
                _overlap(mass_inside.sel(lag=bins), mass_past.sel(lag=bins)),
                unit,
                "overlap of the masses by lag within the training length",
            ),
        }
    )


def _share_far(capture: Capture, past: xr.DataArray, trained: int) -> xr.DataArray:
    """Share of the visible keys at lags beyond the training length, mean over the queries past it."""
    reach = visible_lags(capture)
    position = capture["rows/query_position"].drop_vars(("sequence", "row"))
    keys = np.minimum(reach.where(reach > 0), position + 1)
    share = (keys - trained).clip(min=0) / keys
    return share.where(past > 0).mean(("sequence", "row"))


def _overlap(one: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Sum of the smaller of two distributions over lags, each scaled to sum to 1."""
    first, second = (part / part.sum("lag").where(part.sum("lag") > 0) for part in (one, other))
    return xr.where(first < second, first, second).sum("lag", skipna=False)
