"""What unseen angles cost, in nats: the parts of an attribution with their intervals over sequences.

The parts of all gates add up to the difference between the loss as it is and the loss with the lags of slow
pairs limited, up to the error of the integral, which is shown. What the loss at limited lags exceeds that in
windows of the training length by has other causes.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import xarray as xr

from ropediag.analysis.labelled import average, label
from ropediag.errors import ConfigError, RopediagError
from ropediag.store import Capture, open_capture

PARTS = ("nats", "positions", "by_lag", "first_keys", "nll_limited", "lag_limit")
TOP = 10  # parts listed
TESTED = 4  # sequences from which on a cost must be above zero at 95 %; with fewer, above zero
FINEST = 0.001  # share below which an error is not told
SURE = 0.975  # upper end of a 95 % interval


def measure_attribution(attribution: Capture) -> xr.Dataset:
    """Read the parts of an open file of kind ``attribution``; what is returned, as ``tabulate_attribution``.

    Raises
    ------
    ConfigError
        If it is of another kind.
    """
    kind = str(attribution.attrs.get("kind", "file without a kind"))
    if kind != "attribution":
        raise ConfigError(
            f"{attribution.path} is not an attribution but: {kind}. Pass what ropediag attribute --out wrote."
        )
    raw = {name: attribution[f"attribution/{name}"].load() for name in PARTS}
    raw |= {name: attribution[f"loss/{name}"].load() for name in ("nll", "nll_windowed")}
    return tabulate_attribution(xr.Dataset(raw))


def attribution_path(capture: Path) -> Path:
    """Return the name under which a capture's verdict looks for an attribution: ``NAME-attribution.h5``."""
    return capture.with_name(f"{capture.name.removesuffix('.partial').removesuffix('.h5')}-attribution.h5")


def find_attribution(capture: Capture) -> tuple[xr.Dataset | None, str | None]:
    """Read the attribution that lies next to a capture.

    Returns
    -------
    tuple
        its parts, as ``tabulate_attribution``, and None; or None and why a file that is there cannot be
        used, None where there is none
    """
    path = attribution_path(Path(capture.path))
    if not path.exists():
        return None, None
    try:
        with open_capture(path) as found:
            own, other = (each.attrs.get("weight_fingerprint") for each in (capture, found))
            if own != other:
                return None, f"{path} is an attribution of other weights, and is left out."
            return measure_attribution(found), None
    except RopediagError as error:
        return None, f"{path} cannot be used: {error}"


def tabulate_attribution(raw: xr.Dataset) -> xr.Dataset:
    """Average the parts over sequences, add them up over each axis, and set the losses next to the sum.

    Parameters
    ----------
    raw : variables ``nats``, ``positions``, ``by_lag``, ``first_keys``, ``nll_limited``, ``lag_limit`` of
        the group ``attribution``, and ``nll``, ``nll_windowed`` of the group ``loss``

    Returns
    -------
    xr.Dataset
        All in nats, mean over sequences and positions; each also with ``_low`` and ``_high``, its 95 %
        interval over sequences, which has no bounds with a single one. ``cost`` (layer, query_head, pair),
        ``by_head`` (layer, query_head), ``by_layer``, ``by_pair``, ``by_lag`` (pair, lag), ``by_stretch``
        (stretch, pair) and ``total`` are sums of the same parts; ``first_keys`` (pair) what passes through
        the first keys. ``difference``: loss as it is minus loss at limited lags. ``other``: loss at limited
        lags minus loss in windows of the training length. ``missed`` is total minus difference, the error of
        the integral.
    """
    share = raw.positions / raw.positions.sum()
    parts = (raw.nats * share).sum("stretch", skipna=False)
    start, stop = int(raw.stretch[0]), int(raw.stretch[-1] + raw.positions[-1])
    past = {"position": slice(start, stop)}
    full, limited, windowed = (
        raw[name].isel(past).astype(float).mean("position") for name in ("nll", "nll_limited", "nll_windowed")
    )
    everything = ("layer", "query_head", "pair")
    found = {
        "cost": (parts, "cost of unseen angles"),
        "by_head": (parts.sum("pair", min_count=1), "cost of unseen angles in a head"),
        "by_layer": (parts.sum(("query_head", "pair")), "cost of unseen angles in a layer"),
        "by_pair": (parts.sum(("layer", "query_head")), "cost of unseen angles of a pair"),
        "by_lag": (
            raw.by_lag.astype(float).sum(("layer", "query_head")),
            "cost of unseen angles of a pair at the lags of the bin",
        ),
        "by_stretch": (
            raw.nats.sum(("layer", "query_head")),
            "cost of unseen angles of a pair, mean over the positions of a stretch",
        ),
        "first_keys": (
            raw.first_keys.sum(("layer", "query_head")),
            "cost of unseen angles of a pair between all queries and the first keys",
        ),
        "total": (parts.sum(everything), "sum of all parts"),
        "difference": (full - limited, "loss as it is minus loss at limited lags"),
        "other": (limited - windowed, "loss at limited lags minus loss in windows of the training length"),
        "excess": (full - windowed, "loss as it is minus loss in windows of the training length"),
        "nll": (full, "loss as it is"),
        "nll_limited": (limited, "loss at limited lags"),
        "nll_windowed": (windowed, "loss in windows of the training length"),
    }
    table: dict[str, tuple[xr.DataArray, str, str]] = {}
    for name, (values, meaning) in found.items():
        mean, half = _spread(values)
        table[name] = mean, "nats", meaning
        table[f"{name}_low"] = mean - half, "nats", f"{meaning}, lower end of the 95 % interval"
        table[f"{name}_high"] = mean + half, "nats", f"{meaning}, upper end of the 95 % interval"
    missed = table["total"][0] - table["difference"][0]
    table["missed"] = missed, "nats", "sum of all parts minus the difference that they split"
    table["lag_limit"] = raw.lag_limit, "tokens", "lag beyond which the lag is limited"
    return label(table).assign_attrs(start=start, stop=stop, sequences=raw.sizes["sequence"])


def list_cost(table: xr.Dataset) -> dict[str, Any]:
    """List what an attribution found as plain values.

    Returns
    -------
    dict
        ``start`` and ``stop``, positions whose loss is split; ``sequences``; ``excess``, ``difference``,
        ``total``, ``other``, ``nll``, ``nll_limited`` and ``nll_windowed``, each with ``nats``, ``low`` and
        ``high``; ``missed``; ``by_pair``, ``by_layer`` and ``first_keys``, lists of the same; ``top``, the
        largest parts
    """
    axes = {"by_pair": "pair", "first_keys": "pair", "by_layer": "layer"}
    scalars = ("excess", "difference", "total", "other", "nll", "nll_limited", "nll_windowed")
    return {
        **{name: int(table.attrs[name]) for name in ("start", "stop", "sequences")},
        **{name: list_estimate(table, name) for name in scalars},
        "missed": float(table.missed),
        **{
            name: [
                {axis: int(value)} | list_estimate(table, name, {axis: place})
                for place, value in enumerate(table[axis].values)
            ]
            for name, axis in axes.items()
        },
        "top": list_top(table),
    }


def list_top(table: xr.Dataset, count: int = TOP) -> list[dict[str, Any]]:
    """List the (layer, query head, pair) that cost most, the largest part first.

    Returns
    -------
    list of ``layer``, ``query_head``, ``pair``, ``nats``, ``low`` and ``high``
    """
    cost = table.cost.values
    order = np.argsort(-np.nan_to_num(cost, nan=-np.inf), axis=None)[: min(count, np.isfinite(cost).sum())]
    listed = []
    for at in zip(*np.unravel_index(order, cost.shape), strict=True):
        place = {axis: int(table[axis][index]) for axis, index in zip(table.cost.dims, at, strict=True)}
        listed.append(
            place | list_estimate(table, "cost", dict(zip(table.cost.dims, map(int, at), strict=True)))
        )
    return listed


def list_estimate(table: xr.Dataset, name: str, at: dict[str, int] | None = None) -> dict[str, float | None]:
    """Return a value and its interval as plain ``nats``, ``low`` and ``high``; None without bounds."""
    ends = zip(("nats", "low", "high"), ("", "_low", "_high"), strict=True)
    values = {key: float(table[f"{name}{end}"].isel(at or {})) for key, end in ends}
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


def _spread(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean over sequences and half the width of its 95 % interval by Student's t."""
    mean, error = average(values, "sequence")
    count = values.sizes["sequence"]
    if count < 2:
        return mean, xr.full_like(mean, np.inf).where(mean.notnull())
    return mean, error * float(scipy.stats.t.ppf(SURE, count - 1))


def word_attribution(table: xr.Dataset) -> list[str]:
    """Write what the angles beyond the limits cost, and how exact that is.

    Parameters
    ----------
    table : as ``tabulate_attribution`` returns it

    Returns
    -------
    list of sentences, the sum first
    """
    start, stop, count = (table.attrs[name] for name in ("start", "stop", "sequences"))
    cost, excess, other = (list_estimate(table, name) for name in ("difference", "excess", "other"))
    where = f"from token {start:,} to {stop - 1:,}"
    if not _is_positive(cost, count):
        return [
            f"Unseen angles cost nothing that can be told from zero {where}: {_word(cost)} nats. The loss "
            f"exceeds that in windows of the training length by {_word(excess)}."
        ]
    missed = max(abs(float(table.missed)) / abs(float(table.difference)), FINEST)
    intervals = "One sequence was read, so there are no intervals."
    if count > 1:
        intervals = f"Intervals, 95 %, are over {count} sequences."
    return [
        f"Of {_word(excess)} nats of excess loss {where}, {_word(cost)} come from angles that training "
        f"never showed: {_name_leading(table)}; the remaining {_word(other)} have other causes.",
        f"The largest parts: {_name_largest(table)}. All parts add up to the cost within {missed:.1%}. "
        f"{intervals}",
    ]


def _is_positive(estimate: dict[str, float | None], count: int) -> bool:
    """Check whether a cost is above zero: its interval, or with fewer sequences than ``TESTED`` its value."""
    value, low = estimate["nats"], estimate["low"]
    return value is not None and value > 0 and (count < TESTED or (low is not None and low > 0))


def _name_leading(table: xr.Dataset) -> str:
    """Name the pair that costs most, and its costliest head."""
    pair = int(table.pair[int(np.nanargmax(table.by_pair.values))])
    own = table.cost.sel(pair=pair)
    at = own.argmax(("layer", "query_head"), skipna=True)
    head = own.isel({str(axis): where for axis, where in at.items()})
    return (
        f"{float(table.by_pair.sel(pair=pair)):.2f} of them from pair {pair}, {float(head):.2f} of these "
        f"in layer {int(head.layer)}, head {int(head.query_head)}"
    )


def _name_largest(table: xr.Dataset) -> str:
    return ", ".join(
        f"pair {part['pair']} of layer {part['layer']}, head {part['query_head']} ({part['nats']:.2f})"
        for part in list_top(table, 3)
    )


def _word(estimate: dict[str, float | None]) -> str:
    """Write a number with its interval, if it has one."""
    value, low, high = (estimate[name] for name in ("nats", "low", "high"))
    return f"{value:.2f}" if low is None else f"{value:.2f} ({low:.2f} to {high:.2f})"
