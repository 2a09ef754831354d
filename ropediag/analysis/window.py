"""The trained window: which lags training showed, which it did not, and how far a layer sees at all."""

import numpy as np
import xarray as xr
from jaxtyping import Bool, Int

from ropediag.errors import ConfigError
from ropediag.store import Capture


def trained_length(capture: Capture) -> int:
    """The longest sequence of pretraining or tuning, tokens: lags below it are *in-window*.

    Raises
    ------
    ConfigError
        If the capture does not state it.
    """
    trained = max(int(capture.attrs.get(name) or 0) for name in ("train_len", "tune_len"))
    if trained < 1:
        raise ConfigError(
            f"{capture.path} does not say how long the sequences of pretraining were. Capture the model "
            "again with --train-len."
        )
    return trained


def split_lags(
    edges: Int[np.ndarray, " lag"], length: int, train_len: int
) -> tuple[Bool[np.ndarray, " lag"], Bool[np.ndarray, " lag"]]:
    """Tell the lag bins inside the trained window from those beyond it.

    Parameters
    ----------
    edges : lower edges of the bins, the last one reaches to ``length``

    Returns
    -------
    inside, beyond : a bin that the training length cuts in two is in neither
    """
    stops = np.append(edges[1:], length)
    return stops <= train_len, edges >= train_len


def visible_lags(capture: Capture) -> xr.DataArray:
    """Count the lags each layer sees, (layer), tokens: the length, or the window.

    Read off the query-key pairs by lag bin, so to the upper edge of the window's last bin; 0 where nothing
    is known of a layer yet.
    """
    count = capture["scores/count"]
    stops = np.append(count.lag.values[1:], int(capture.attrs["length"]))
    return xr.where(count > 0, xr.DataArray(stops, dims="lag"), 0).max("lag")
