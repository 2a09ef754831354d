"""The head table: one row a head, with what the diagnostics say of it.

What they give by pair, lag or query is brought down to numbers of the head. ``inside`` is within the trained
length, the longer of pretraining and tuning, ``past`` is beyond it.
"""

import math
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from ropediag.analysis.attention_distance import measure_attention_distance
from ropediag.analysis.attribution import find_attribution
from ropediag.analysis.drift import measure_drift
from ropediag.analysis.labelled import label
from ropediag.analysis.onset_pair import find_onset_pairs
from ropediag.analysis.pair_norms import measure_pair_norms
from ropediag.analysis.rows import average_rows, split_queries
from ropediag.analysis.window import split_lags, trained_length
from ropediag.store import Capture

DOMINANT = 3  # pairs listed of each head
DIGITS = 4  # of a measured number in a row
# Pairs, lags and counts.
WHOLE = ("cost_pair", "drift_pair", "drifting_pairs", "tested_pairs", "onset", "onset_pair")
SOFTMAX = {
    "entropy": ("nats", "entropy of the attention weights"),
    "sink_mass": ("1", "attention weight on the first position"),
}
Columns = dict[str, tuple[xr.DataArray, str, str]]


def measure_head_table(capture: Capture) -> xr.Dataset:
    """Measure everything and draw up the table; columns and errors as ``tabulate_heads``."""
    return tabulate_heads(capture, measure_drift(capture).load())


def tabulate_heads(capture: Capture, drift: xr.Dataset) -> xr.Dataset:
    """Draw up the table of heads from a drift that was measured; the rest is measured here.

    Parameters
    ----------
    drift : what ``measure_drift`` returned

    Returns
    -------
    xr.Dataset over (layer, query_head); ``*_pairs`` also over ``rank``, the largest first
        ``drift``, ``drift_pair``: largest drift and its pair; ``drifting_pairs``: how many pairs drift, of
        ``tested_pairs`` of which it is known; ``onset``, ``onset_pair``: first lag at which a pair leaves
        its range for good, and fastest pair that does. ``entropy_inside``, ``entropy_past``,
        ``sink_mass_inside``, ``sink_mass_past``: of the sampled queries. ``near_mass``, ``far_mass``: weight
        of the queries past the trained length at lags within it and beyond it. ``drift_pairs``,
        ``norm_pairs``: the pairs that drift most, and those with the longest queries and keys.
        ``past_move``: how far the joint logit of the critical pair and all slower ones moves past the
        trained length, in its standard deviations over keys. ``cost``, ``cost_pair``: what unseen angles cost
        in the head, by the attribution next to the capture, and the pair that costs most. NaN where the files
        do not know.

    Raises
    ------
    ConfigError
        If the capture does not state its training length.
    """
    return label(
        {
            **_read_drift(drift, capture.critical_pair),
            **_average_softmax(capture),
            **_split_mass(capture),
            **_name_dominant(drift, measure_pair_norms(capture)),
            **_read_cost(capture),
            "past_move": (
                measure_move(capture, "past"),
                "in-window std over keys",
                "move of the partial logit of the critical pair and slower ones",
            ),
        }
    )


def _read_drift(drift: xr.Dataset, critical_pair: xr.DataArray) -> Columns:
    onsets = find_onset_pairs(drift, critical_pair)
    tested = np.isfinite(drift.p_value).sum("pair")
    known = tested > 0
    return {
        "drift": (drift.drift.max("pair"), "in-range std", "largest drift of a pair"),
        "drift_pair": (rank_pairs(drift.drift, 1)[..., 0], "1", "pair with the largest drift"),
        "drifting_pairs": (drift.drifts.sum("pair").where(known), "1", "how many pairs drift"),
        "tested_pairs": (tested.where(known), "1", "in how many pairs it is known whether they drift"),
        "onset": (drift.onset.min("pair"), "tokens", "first lag at which a pair leaves its range for good"),
        "onset_pair": (onsets.onset_pair, "1", "fastest pair that drifts"),
    }


def _read_cost(capture: Capture) -> Columns:
    """Cost of each head and its costliest pair, by the attribution next to the capture."""
    table, _ = find_attribution(capture)
    layers, heads = capture.values("layer"), capture.values("query_head")
    if table is None:
        nothing = np.full((len(layers), len(heads)), np.nan)
        blank = xr.DataArray(nothing, {"layer": layers, "query_head": heads}, ("layer", "query_head"))
        cost, pair = blank, blank
    else:
        at = {"layer": layers, "query_head": heads}
        cost, pair = table.by_head.reindex(at), rank_pairs(table.cost, 1)[..., 0].reindex(at)
    return {
        "cost": (cost, "nats", "cost of unseen angles in the head, where it was measured"),
        "cost_pair": (pair, "1", "pair of the head that costs most"),
    }


def list_heads(table: xr.Dataset) -> list[dict[str, Any]]:
    """List the table head by head, in plain numbers.

    Parameters
    ----------
    table : what ``tabulate_heads`` returned

    Returns
    -------
    one dictionary a head, layer by layer
        ``layer``, ``query_head`` and the columns by name: pairs, lags and counts as exact whole numbers,
        all else to ``DIGITS`` digits, None where not known; ``*_pairs`` over ``rank`` as lists of those known
    """
    columns = {str(name): values.values.tolist() for name, values in table.data_vars.items()}
    lists = {str(name) for name, values in table.data_vars.items() if "rank" in values.dims}
    rows = []
    for (i, layer), (j, head) in product(
        enumerate(table.layer.values.tolist()), enumerate(table.query_head.values.tolist())
    ):
        row = {"layer": layer, "query_head": head}
        for name, values in columns.items():
            known = [one for one in np.atleast_1d(values[i][j]).tolist() if math.isfinite(one)]
            plain = [int(one) if name in WHOLE or name in lists else _round(one) for one in known]
            row[name] = plain if name in lists else next(iter(plain), None)
        rows.append(row)
    return rows


def _round(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def spread_ranks(table: xr.Dataset) -> xr.Dataset:
    """Give every rank a column of its own, so that one row says all of a head: ``drift_pairs_0``, ``_1``, ...

    Returns
    -------
    xr.Dataset over (layer, query_head)
    """
    found: dict[str, xr.DataArray] = {}
    for name, values in table.data_vars.items():
        if "rank" not in values.dims:
            found[str(name)] = values
            continue
        for rank in values["rank"].values.tolist():
            meaning = f"{values.attrs['long_name']}, rank {rank}"
            own = values.sel(rank=rank, drop=True)
            found[f"{name}_{rank}"] = own.assign_attrs(values.attrs | {"long_name": meaning})
    return xr.Dataset(found, attrs=table.attrs)


def _average_softmax(capture: Capture) -> Columns:
    trained = trained_length(capture)
    sides = split_queries(capture["rows/query_position"], trained)
    columns: Columns = {}
    for name, (units, meaning) in SOFTMAX.items():
        mean = average_rows(capture[f"rows/{name}"].astype(float), sides)[0]
        for place, side in enumerate(("inside", "past")):
            where = f"{meaning}, queries {'from' if place else 'before'} position {trained:,}" + " on" * place
            columns[f"{name}_{side}"] = (mean.isel(side=place), units, where)
    return columns


def _split_mass(capture: Capture) -> Columns:
    """Weight of the queries past the trained length, by distance; a bin that it cuts in two is in neither."""
    trained, found = trained_length(capture), measure_attention_distance(capture)
    inside, _ = split_lags(found.lag.values, int(capture.attrs["length"]), trained)
    near = found.mass_past[..., inside].sum("lag", skipna=False)
    return {
        "near_mass": (near, "1", f"attention mass at lags below {trained:,}, of queries from there on"),
        "far_mass": (found.far_mass, "1", str(found.far_mass.attrs["long_name"])),
    }


def _name_dominant(drift: xr.Dataset, norms: xr.Dataset) -> Columns:
    return {
        "drift_pairs": (rank_pairs(drift.drift, DOMINANT), "1", "pairs with the largest drift"),
        "norm_pairs": (
            rank_pairs(norms["product"], DOMINANT),
            "1",
            "pairs with the largest product of query and key lengths",
        ),
    }


def rank_pairs(values: xr.DataArray, count: int) -> xr.DataArray:
    """Name the pairs with the largest values.

    Parameters
    ----------
    values : (..., pair); NaN where there is none
    count : how many

    Returns
    -------
    (..., rank) array of pairs, the largest value first; NaN where fewer have one above 0
    """
    count = min(count, values.sizes["pair"])
    array = np.where(values.values > 0, values.values, -np.inf)
    order = np.argsort(-array, axis=-1, kind="stable")[..., :count]
    held = np.take_along_axis(array, order, -1) > 0
    rest = [dim for dim in values.dims if dim != "pair"]
    return xr.DataArray(
        np.where(held, values.pair.values[order].astype(float), np.nan),
        {dim: values[dim] for dim in rest}
        | {"rank": ("rank", np.arange(count), {"units": "1", "long_name": "rank, 0 is the largest"})},
        (*rest, "rank"),
    )


def measure_move(capture: Capture, side: str) -> xr.DataArray:
    """Measure how far a partial logit moves from within the trained length to past it.

    Parameters
    ----------
    side : ``before`` or ``past`` the critical pair

    Returns
    -------
    (layer, query_head) array: |change of the mean| over the mean in-window standard deviation over keys, mean
    over sequences; NaN in layers without critical pair, and where nothing is past the trained length
    """
    trained, length = trained_length(capture), int(capture.attrs["length"])
    inside, beyond = split_lags(capture.values("position_bin"), length, trained)
    mean, std = (capture[f"partial/{side}_{name}"].astype(float) for name in ("mean", "std"))
    change = mean[..., beyond].mean("position_bin") - mean[..., inside].mean("position_bin")
    move = (abs(change) / std[..., inside].mean("position_bin")).mean("sequence")
    return move.where(capture.critical_pair >= 0)
