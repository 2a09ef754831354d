"""Excess curves of several evaluations on one axis of positions, smoothed alike."""

from collections.abc import Mapping

import xarray as xr

from ropediag.analysis.breakdown import smooth_by_ratio
from ropediag.analysis.limit import THRESHOLD
from ropediag.errors import ConfigError
from ropediag.store import Capture


def measure_excess_curves(evaluations: Mapping[str, Capture]) -> xr.Dataset:
    """Average the excess of each over sequences and over stretches that grow with the position.

    Parameters
    ----------
    evaluations : what to call each -> a capture or an evaluation of one training length

    Returns
    -------
    xr.Dataset
        ``excess`` (model, position), nats; NaN past the end of a shorter one

    Raises
    ------
    ConfigError
        If the training lengths differ.
    """
    lengths = {int(each.attrs["train_len"]) for each in evaluations.values()}
    if len(lengths) != 1:
        raise ConfigError(f"excess curves on one axis need one training length: got {sorted(lengths)}.")
    (train_len,) = lengths
    rows = []
    for each in evaluations.values():
        excess = (each["loss/nll"] - each["loss/nll_windowed"]).values.astype(float)
        centres, smooth = smooth_by_ratio(excess, max(32, train_len // 4))
        rows.append(xr.DataArray(smooth.mean(0), {"position": centres}, "position"))
    curves = xr.concat(rows, xr.DataArray(list(evaluations), dims="model", name="model"), join="outer")
    curves.attrs = {
        "units": "nats per token",
        "long_name": "excess loss: full context less the training length's",
    }
    curves.position.attrs = {"units": "tokens", "long_name": "position of the predicted token"}
    curves.model.attrs = {"units": "1", "long_name": "model"}
    return xr.Dataset({"excess": curves}, attrs={"train_len": train_len, "threshold": THRESHOLD})
