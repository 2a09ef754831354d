"""The trained length: which positions occurred in training, and how far a layer sees at all."""

import numpy as np
import xarray as xr
from jaxtyping import Bool, Int

from ropediag.errors import ConfigError
from ropediag.store import Capture


def trained_length(capture: Capture) -> int:
    """Return the longest sequence of any phase of training, tokens: positions below it occurred there.

    Raises
    ------
    ConfigError
        If the capture does not state it.
    """
    return max(phase.length for phase in capture.training.phases)


def find_trained_length(capture: Capture) -> int:
    """Return the longest sequence of any phase of training, tokens; 0 where the capture does not state it."""
    try:
        return trained_length(capture)
    except ConfigError:
        return 0


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
