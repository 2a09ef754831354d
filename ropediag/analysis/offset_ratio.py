"""Offset ratio: how much of a pair's queries and keys is one fixed vector, the same for every token."""

import numpy as np
import xarray as xr
from jaxtyping import Float

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.heads import key_head_index
from ropediag.analysis.labelled import average, label
from ropediag.errors import ConfigError
from ropediag.store import Capture


@diagnostic(
    question="In which pairs are queries and keys nearly the same for all tokens, so only the lag counts?",
    high="the pair's part of the logit is a fixed function of the lag, up to 1: nothing of the token in it",
    interval="standard error over sequences; none with a single one",
    source="after Jonasson 2025, arXiv:2503.01832 (rotary offset features); the ratio itself is ropediag's",
    shows="product",
    between_sequences=True,
)
def measure_offset_ratio(capture: Capture) -> xr.Dataset:
    """Length of the mean vector before rotation over the root mean square length, and the mean angle.

    Two mean vectors with the angle ``angle`` between query and key add ``cos(angle + lag * inv_freq)``, times
    their lengths, to the logit.

    Returns
    -------
    xr.Dataset
        ``query_offset`` (layer, query_head, pair), ``key_offset`` (layer, kv_head, pair): the ratios, 0 to 1,
        mean over sequences. ``product``, ``product_se`` (layer, query_head, pair): of the query's and
        that of the keys the head reads. ``angle``, ``angle_se`` (layer, query_head, pair): direction of the
        mean query minus that of the mean key, mean over sequences weighted by their product. ``turns``
        (layer, pair): turns in training, NaN where that is unknown; below 1 the pair never came round.
    """
    query, key = (capture[f"vectors/{side}_offset"].astype(float) for side in ("query", "key"))
    query_phase, key_phase = (capture[f"vectors/{side}_phase"].astype(float) for side in ("query", "key"))
    read = xr.DataArray(key_head_index(capture), dims="query_head")
    product = query * key.isel(kv_head=read).drop_vars("kv_head")
    apart = query_phase - key_phase.isel(kv_head=read).drop_vars("kv_head")
    axes = ("layer", "query_head", "pair")
    angle, angle_error = _average_angle(apart, product)
    mean, error = average(product, "sequence")
    turns = capture["rope/inv_freq"].copy(data=_count_turns(capture))
    return label(
        {
            "query_offset": (
                average(query, "sequence")[0],
                "1",
                "mean query over its root mean square length",
            ),
            "key_offset": (average(key, "sequence")[0], "1", "mean key over its root mean square length"),
            "product": (mean.transpose(*axes), "1", "offset ratio of the query times that of the key"),
            "product_se": (error.transpose(*axes), "1", "standard error of the product over sequences"),
            "angle": (angle.transpose(*axes), "rad", "angle of the mean query minus that of the mean key"),
            "angle_se": (angle_error.transpose(*axes), "rad", "standard error of the angle over sequences"),
            "turns": (
                turns,
                "1",
                "turns of the pair in training",
            ),
        }
    )


def _count_turns(capture: Capture) -> Float[np.ndarray, "layer pair"]:
    try:
        return capture.training.turns
    except ConfigError:  # its length is not stated
        return np.full(capture.values("rope/inv_freq").shape, np.nan)


def _average_angle(angle: xr.DataArray, weight: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean direction over sequences, in (-pi, pi], and the standard error of its deviations, unweighted."""
    north = (weight * np.sin(angle)).sum("sequence", min_count=1)
    mean = xr.apply_ufunc(np.arctan2, north, (weight * np.cos(angle)).sum("sequence"))
    apart = angle - mean
    deviation = xr.apply_ufunc(np.arctan2, np.sin(apart), np.cos(apart))
    return mean, average(deviation, "sequence")[1]
