"""One pair of one head: its contribution by lag, and its part of queries and keys by position.

What ``drift`` sums up to a number is here laid out; only the chunks of the file that hold this pair are read.
Lags and positions are tokens, named by the lower edges of their bins.
"""

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from ropediag.analysis.heads import key_head_index
from ropediag.analysis.labelled import make_axis
from ropediag.analysis.window import find_trained_length
from ropediag.store import Capture

JUDGED = ("scale", "drift", "drift_se", "drifts", "onset", "onset_low", "onset_high")  # taken from ``drift``
JUDGEMENTS = ("drifts", "does not drift", "not tested", "meets no unseen angle", "no such pair here")
BY_LAG = {
    "mean": "mean contribution",
    "std": "standard deviation of the contribution",
    "mean_se": "standard error of the mean",
    "lag_mean_min": "smallest of the means at the single lags of the bin, mean over sequences",
    "lag_mean_max": "largest of the means at the single lags of the bin, mean over sequences",
}
SAMPLED = {
    "minimum": "smallest contribution among the sampled queries of all sequences",
    "maximum": "largest contribution among the sampled queries of all sequences",
    "quantile": "quantile of the contribution over sampled queries and keys, mean over sequences",
}


def measure_pair_profile(
    capture: Capture, layer: int, query_head: int, pair: int, drift: xr.Dataset
) -> xr.Dataset:
    """Read the contribution of one pair by lag, with what its drift was judged by.

    Parameters
    ----------
    layer, query_head, pair : by the capture's coordinates
    drift : what ``measure_drift`` found in this capture

    Returns
    -------
    xr.Dataset, every variable with ``units`` and ``long_name``
        ``mean``, ``std``, ``mean_se``, ``lag_mean_min``, ``lag_mean_max`` (lag), logit: all query-key pairs;
        ``minimum``, ``maximum`` (coarse_lag) and ``quantile`` (coarse_lag, level), logit: sampled queries,
        left out if the capture has none. ``range_low``, ``range_high``: of the single-lag means at lags
        below the trained reach, mean over sequences, logit; the pair is outside below ``leave_low`` and above
        ``leave_high``. What ``drift`` says of the pair; ``period``, ``reach``, tokens; ``critical_pair``, -1
        without RoPE. NaN where the layer has no such head or pair. Attributes in words: ``judgement``, from
        ``JUDGEMENTS``, and ``side`` of the critical pair, ``before`` or ``past``, empty where there is none.

    Raises
    ------
    ConfigError
        If the capture has no such layer, head or pair.
    """
    at = {"layer": layer, "query_head": query_head, "pair": pair}
    judged, least = drift.sel(at), float(drift.attrs["least"])
    reach = float(capture.training.reach()[capture.place("layer", layer), capture.place("pair", pair)])
    arrays = {name: capture.values(f"scores/{name}", **at).astype(float) for name in BY_LAG}
    lag = capture.values("lag")
    inside = np.append(lag[1:], int(capture.attrs["length"])) <= reach
    low, high = find_range(arrays["lag_mean_min"], arrays["lag_mean_max"], inside)
    for name in ("lag_mean_min", "lag_mean_max"):
        arrays[name] = average_known(arrays[name])
    margin = least * float(judged["scale"])
    with np.errstate(divide="ignore"):
        turned = float(capture.values("rope/inv_freq", layer=layer, pair=pair))
    period = 2 * np.pi / turned if turned else np.inf  # some models have pairs that never turn
    scalars = {
        "range_low": (low, "logit", "lower end of the range of the mean contribution in training"),
        "range_high": (high, "logit", "upper end of the range of the mean contribution in training"),
        "leave_low": (low - margin, "logit", "below it the pair is outside its range"),
        "leave_high": (high + margin, "logit", "above it the pair is outside its range"),
        "period": (period, "tokens", "period of the pair"),
        "reach": (reach, "tokens", "trained reach"),
        "critical_pair": (
            int(capture.critical_pair.sel(layer=layer)),
            "1",
            "first pair without a full turn in training",
        ),
    }
    here = np.isfinite(arrays["mean"]).any() or not (capture.values("scores/count", layer=layer) > 0).any()
    exists = bool(here and not np.isnan(period))  # what a layer that is still to come will hold is not known
    words = {
        "judgement": _judge(judged, exists, reach >= int(capture.attrs["length"])),
        "side": _find_side(pair, int(scalars["critical_pair"][0])) if exists else "",
    }
    return xr.Dataset(
        {name: ("lag", arrays[name], {"units": "logit", "long_name": text}) for name, text in BY_LAG.items()}
        | _read_sampled(capture, at)
        | {
            name: ((), value, {"units": unit, "long_name": text})
            for name, (value, unit, text) in scalars.items()
        }
        | {name: judged[name].drop_vars(tuple(at)) for name in JUDGED},
        {"lag": make_axis("lag", lag)},
        _name_pair(capture, at) | words,
    )


def _judge(judged: xr.Dataset, exists: bool, seen: bool) -> str:
    """Take the word of ``JUDGEMENTS`` that fits."""
    if not exists:
        return "no such pair here"
    if seen:
        return "meets no unseen angle"
    if not np.isfinite(judged["p_value"]):
        return "not tested"
    return "drifts" if bool(judged["drifts"]) else "does not drift"


def _find_side(pair: int, critical_pair: int) -> str:
    """Say on which side of the critical pair a pair lies; the critical pair itself is past."""
    if critical_pair < 0:
        return ""
    return "before" if pair < critical_pair else "past"


def _read_sampled(capture: Capture, at: dict[str, int]) -> dict[str, xr.DataArray]:
    """The extremes over all sequences, and the mean quantiles."""
    if not all(f"rows/{name}" in capture for name in SAMPLED):
        return {}
    minimum, maximum, quantile = (capture.values(f"rows/{name}", **at).astype(float) for name in SAMPLED)
    found = {
        "minimum": np.fmin.reduce(minimum, axis=0),
        "maximum": np.fmax.reduce(maximum, axis=0),
        "quantile": average_known(quantile),
    }
    axes = {name: make_axis(name, capture.values(name)) for name in ("coarse_lag", "level")}
    return {
        name: xr.DataArray(
            array,
            {axis: axes[axis] for axis in tuple(axes)[: array.ndim]},
            tuple(axes)[: array.ndim],
            attrs={"units": "logit", "long_name": SAMPLED[name]},
        )
        for name, array in found.items()
    }


def find_range(
    low: Float[np.ndarray, "sequence lag"], high: Float[np.ndarray, "sequence lag"], inside: np.ndarray
) -> tuple[float, float]:
    """Take each sequence's extremes over the bins ``inside``, as ``excursions`` does, and average them.

    Returns
    -------
    low, high : NaN where no sequence has a value
    """
    smallest = np.fmin.reduce(low[:, inside], axis=1, initial=np.nan)
    largest = np.fmax.reduce(high[:, inside], axis=1, initial=np.nan)
    return float(average_known(smallest)), float(average_known(largest))


def average_known(values: Float[np.ndarray, "sequence ..."]) -> Float[np.ndarray, "..."]:
    """Average over the sequences that have a value: an unfinished capture lacks some. NaN where none has."""
    known = np.isfinite(values)
    count = known.sum(0)
    return np.asarray(np.where(known, values, 0.0).sum(0) / np.where(count > 0, count, np.nan))


def measure_pair_lengths(capture: Capture, layer: int, query_head: int, pair: int) -> xr.Dataset:
    """Read how long one pair's part of the head's queries, and of the keys it reads, is by position.

    Parameters
    ----------
    layer, query_head, pair : by the capture's coordinates

    Returns
    -------
    xr.Dataset over ``norm_bin``
        ``query_norm``, ``key_norm``: root mean square length over the positions of a bin, attention factor
        included, mean over sequences; ``query_norm_se``, ``key_norm_se``: its standard error over sequences,
        NaN with a single one. ``trained``: tokens, NaN where the capture does not state it.

    Raises
    ------
    ConfigError
        If the capture has no such layer, head or pair.
    FormatError
        If it has no norms.
    """
    at = {"layer": layer, "query_head": query_head, "pair": pair}
    index = key_head_index(capture)[capture.place("query_head", query_head)]
    key_head = int(capture.values("kv_head")[index])
    arrays = {
        "query_norm": capture.values("vectors/query_norm", **at),
        "key_norm": capture.values("vectors/key_norm", layer=layer, kv_head=key_head, pair=pair),
    }
    found = {}
    for name, array in arrays.items():
        values, side = array.astype(float), name.partition("_")[0]
        count = np.isfinite(values).sum(0)
        mean = average_known(values)
        square = average_known((values - mean) ** 2)
        error = np.sqrt(square / np.where(count > 1, count - 1, np.nan))
        text = f"root mean square length of the pair in the {side}"
        found[name] = ("norm_bin", mean, {"units": "1", "long_name": text})
        found[f"{name}_se"] = ("norm_bin", error, {"units": "1", "long_name": "its standard error"})
    trained = find_trained_length(capture)
    trained_attrs = {"units": "tokens", "long_name": "trained length"}
    return xr.Dataset(
        found | {"trained": ((), float(trained) if trained else np.nan, trained_attrs)},
        {"norm_bin": make_axis("norm_bin", capture.values("norm_bin"))},
        _name_pair(capture, at) | {"kv_head": key_head},
    )


def _name_pair(capture: Capture, at: dict[str, int]) -> dict[str, Any]:
    return {"model": str(capture.attrs.get("model", "")), "length": int(capture.attrs["length"])} | at
