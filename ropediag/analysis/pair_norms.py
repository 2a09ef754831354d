"""Pair norms: how long each pair's part of the queries and keys is, and in which band the length lies."""

import numpy as np
import xarray as xr

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.heads import key_head_index
from ropediag.analysis.standard_error import standard_error
from ropediag.store import Capture


@diagnostic(
    question="Which pairs can a head's logits come from: in which band are its queries and keys long?",
    high="the pair can add much to the logit: its largest possible contribution",
    interval="standard error over sequences; none with a single one",
    source="Barbero et al. 2025, arXiv:2410.06205; Oka et al. 2026 for the band",
    shows="product",
    between_sequences=True,
)
def measure_pair_norms(capture: Capture) -> xr.Dataset:
    """Root mean square lengths over all positions, and their product.

    Returns
    -------
    xr.Dataset
        ``query_norm``, ``product``, ``product_se`` (layer, query_head, pair): lengths of the pair in queries,
        and times the length in the keys that the head reads, mean over sequences; |contribution| is at most
        this product times the logit scaling. ``key_norm`` (layer, kv_head, pair). ``peak`` and ``centre``
        (layer, query_head): the pair with the largest product, and the mean pair weighted by it.
    """
    query, key = (_over_positions(capture, side) for side in ("query", "key"))
    read = key.isel(kv_head=xr.DataArray(key_head_index(capture), dims="query_head")).drop_vars("kv_head")
    product = (query * read).transpose("sequence", "layer", "query_head", "pair")
    mean = product.mean("sequence")
    error = mean.copy(data=standard_error(product.values))
    present = mean.fillna(0.0)
    total = present.sum("pair").where(present.sum("pair") > 0)
    labels = {
        "query_norm": (query.mean("sequence"), "1", "root mean square length of the pair in the query"),
        "key_norm": (key.mean("sequence"), "1", "root mean square length of the pair in the key"),
        "product": (mean, "1", "length of the pair in the query times that in the key"),
        "product_se": (error, "1", "standard error of the product over sequences"),
        "peak": (present.argmax("pair").where(total.notnull()), "1", "pair with the largest product"),
        "centre": ((present * present.pair).sum("pair") / total, "1", "mean pair, weighted by the product"),
    }
    return xr.Dataset(
        {
            name: values.assign_attrs(units=units, long_name=meaning)
            for name, (values, units, meaning) in labels.items()
        }
    )


def _over_positions(capture: Capture, side: str) -> xr.DataArray:
    """Root mean square over the position bins, each by its width."""
    norm = capture[f"vectors/{side}_norm"].astype(float)
    widths = np.diff(norm.norm_bin.values, append=int(capture.attrs["length"]))
    weights = xr.DataArray(widths / widths.sum(), dims="norm_bin")
    return np.sqrt((norm**2 * weights).sum("norm_bin", skipna=False))
