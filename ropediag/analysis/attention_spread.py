"""Attention spread: entropy, largest weight and sink mass of a head's attention, by query position."""

import numpy as np
import xarray as xr

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.labelled import label
from ropediag.analysis.rows import average_rows, bin_queries
from ropediag.analysis.window import visible_lags
from ropediag.store import Capture


@diagnostic(
    question="Does a head's attention spread out, or lose its sink, as the context grows?",
    high="the head attends as if evenly to exp(entropy) keys",
    interval="standard error between sequences, with fewer than 8 between sampled queries",
    source="Zhong et al. 2025, arXiv:2406.13282 (entropy); Wertheimer et al. 2026, arXiv:2603.18017 (sink)",
    shows="entropy",
)
def measure_attention_spread(capture: Capture) -> xr.Dataset:
    """Average the softmax of the sampled queries in bins of their position, 2 per doubling.

    Returns
    -------
    xr.Dataset, by (layer, query_head, query_position), each with its ``_se``
        ``entropy``; ``relative_entropy``, over the logarithm of the number of visible keys, 1 if all weights
        are equal; ``max_weight``; ``sink_mass``, the weight on the first position, 0 where a window hides it.
        ``queries`` (query_position): sampled queries in the bin. NaN where there are none.
    """
    rows = {name: capture[f"rows/{name}"].astype(float) for name in ("entropy", "max_weight", "sink_mass")}
    position = capture["rows/query_position"]
    bins = bin_queries(position.values, int(capture.attrs["length"]))
    reach = visible_lags(capture)
    keys = np.minimum(reach.where(reach > 0), position + 1)
    measured = {
        "entropy": (rows["entropy"], "nats", "entropy of the attention weights"),
        "relative_entropy": (
            rows["entropy"] / np.log(keys.where(keys > 1)),
            "1",
            "entropy of the attention weights over the logarithm of the visible keys",
        ),
        "max_weight": (rows["max_weight"], "1", "largest attention weight"),
        "sink_mass": (rows["sink_mass"], "1", "attention weight on the first position"),
    }
    table: dict[str, tuple[xr.DataArray, str, str]] = {}
    for name, (values, units, meaning) in measured.items():
        mean, error = average_rows(values, bins)
        table[name] = (mean, units, meaning)
        table[f"{name}_se"] = (error, units, f"standard error of the {meaning}")
    table["queries"] = (bins.sum(("sequence", "row")), "1", "sampled queries in the bin")
    return label({name: (row[0].transpose(..., "query_position"), *row[1:]) for name, row in table.items()})
