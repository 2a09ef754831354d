"""Score explosions: the pairs that drift, ranked by how much of all drift each of them makes up."""

import numpy as np
import xarray as xr

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.drift import measure_drift
from ropediag.store import Capture

CARRIED = ("drift", "drift_se", "onset", "onset_low", "onset_high", "peak_lag", "direction", "q_value")


@diagnostic(
    question="Which pairs make up the drift: how few of them carry most of it?",
    high="this pair alone makes up that share of the model's drift",
    interval="of the drift, its standard error; that of the onset; none of the rank",
    source="Liu et al. 2023, arXiv:2310.05209, for the claim that slow pairs carry it",
    shows="share",
)
def measure_explosions(capture: Capture) -> xr.Dataset:
    """Rank the pairs that drift; arguments and errors as ``measure_drift``."""
    return rank_explosions(measure_drift(capture), capture["rope/inv_freq"].load())


def rank_explosions(drift: xr.Dataset, inv_freq: xr.DataArray) -> xr.Dataset:
    """Rank the pairs of a drift that was measured, the largest first.

    Parameters
    ----------
    drift : what ``measure_drift`` returned
    inv_freq : (layer, pair) radians per token

    Returns
    -------
    xr.Dataset over ``rank``
        ``layer``, ``query_head``, ``pair``: which; ``share``: of the sum of the drifts of all pairs, those
        that do not drift included; ``move``: the drift in logits; ``period``: of the pair, tokens; and what
        ``measure_drift`` says of the pair.
    """
    value = drift.drift.values
    where = np.argwhere(drift.drifts.values)
    order = np.argsort(-value[tuple(where.T)], kind="stable")
    places = where[order]
    index = tuple(places.T)
    moved = value * drift["scale"].values
    with np.errstate(divide="ignore"):
        period = 2 * np.pi / inv_freq.values
    columns = {
        "layer": (drift.layer.values[index[0]], "1", drift.layer.attrs["long_name"]),
        "query_head": (drift.query_head.values[index[1]], "1", drift.query_head.attrs["long_name"]),
        "pair": (drift.pair.values[index[2]], "1", drift.pair.attrs["long_name"]),
        "share": (value[index] / np.nansum(value), "1", "share of all drift, of all pairs"),
        "move": (moved[index], "logit", "drift of the pair in logits"),
        "period": (period[index[0], index[2]], "tokens", "period of the pair"),
    }
    for name in CARRIED:
        attrs = drift[name].attrs
        columns[name] = (drift[name].values[index], attrs["units"], attrs["long_name"])
    rank = ("rank", np.arange(len(places)), {"units": "1", "long_name": "rank by drift, 0 drifts most"})
    return xr.Dataset(
        {
            name: ("rank", array, {"units": units, "long_name": meaning})
            for name, (array, units, meaning) in columns.items()
        },
        {"rank": rank},
        {"tested": int(np.isfinite(drift.p_value.values).sum())},
    )
