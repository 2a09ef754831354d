"""Unseen cost: what unseen angles cost the loss, read from the attribution next to a capture."""

from pathlib import Path

import xarray as xr

from ropediag.analysis.attribution import attribution_path, find_attribution
from ropediag.analysis.diagnostic import diagnostic
from ropediag.errors import ConfigError
from ropediag.store import Capture


@diagnostic(
    question="What do angles that training never showed cost the loss?",
    high="so many nats of the loss per token come from this pair at such angles",
    interval="between the sequences of the attribution, by Student's t",
    source="integrated gradients are those of Sundararajan et al. 2017, arXiv:1703.01365; the gates are "
    "ropediag's",
    shows="cost",
    between_sequences=True,
)
def measure_unseen_cost(capture: Capture) -> xr.Dataset:
    """Read the cost of each pair from the attribution that lies next to a capture.

    Returns
    -------
    xr.Dataset
        ``cost`` (layer, query_head, pair), nats per token, with ``cost_low`` and ``cost_high``. The parts of
        all pairs sum to the cost of all unseen angles.

    Raises
    ------
    ConfigError
        If no attribution of the same weights lies there.
    """
    table, fault = find_attribution(capture)
    if table is None:
        out = attribution_path(Path(capture.path))
        raise ConfigError(
            fault
            or f"{capture.path} has no attribution next to it: write one, ropediag attribute --out {out}."
        )
    return table[["cost", "cost_low", "cost_high"]]
