"""Swing: how far the mean contribution of each pair goes up and down as the pair turns.

The mean query and the mean key of a pair add a cosine of the lag to the logit. Its amplitude is the swing:
what the pair can add at an angle that was never trained.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float

from ropediag.analysis.diagnostic import diagnostic
from ropediag.analysis.labelled import label
from ropediag.analysis.standard_error import standard_error
from ropediag.rope import average_turns
from ropediag.store import Capture

AXES = ("layer", "query_head", "pair")


@diagnostic(
    question="How far does the mean contribution of each pair swing as the pair turns?",
    high="much of the head's preference for some lags over others hangs on this pair",
    interval="standard error over the capture's replicates, each fitted alone; none with a single one",
    source="ropediag's own measure; the cosine is that of mean query and mean key",
    shows="swing",
)
def measure_swing(capture: Capture) -> xr.Dataset:
    """Fit ``a cos(lag w) + b sin(lag w)`` to the mean contribution by lag; the swing is its amplitude.

    Least squares over the lag bins, each of equal weight: they lie evenly in the logarithm of the lag. A pair
    that turns little within the capture is fitted to a short arc, so its error is large.

    Returns
    -------
    xr.Dataset, by (layer, query_head, pair)
        ``swing``, ``swing_se``: amplitude, logits; ``fit``: share of the mean square of the contribution that
        the cosine explains. NaN without such a pair.
    """
    frequency, length = capture.values("rope/inv_freq"), int(capture.attrs["length"])
    mean = capture["scores/mean"]
    swing, fit = fit_swing(mean.values, average_turns(frequency, capture.values("lag"), length))
    turns = average_turns(frequency, capture.values("coarse_lag"), length)
    replicates = np.stack([fit_swing(each, turns)[0] for each in capture.values("scores/replicate_mean")])
    axes = {name: mean[name] for name in AXES}
    found: dict[str, tuple[np.ndarray, str, str]] = {
        "swing": (swing, "logits", "swing of the mean contribution as the pair turns"),
        "swing_se": (standard_error(replicates), "logits", "standard error of the swing over replicates"),
        "fit": (fit, "1", "share of the mean square of the contribution that the cosine explains"),
    }
    return label(
        {name: (xr.DataArray(array, axes, AXES), units, text) for name, (array, units, text) in found.items()}
    )


def fit_swing(
    mean: Float[np.ndarray, "layer query_head pair lag"], turns: np.ndarray
) -> tuple[Float[np.ndarray, "layer query_head pair"], Float[np.ndarray, "layer query_head pair"]]:
    """Fit a cosine and a sine of the angle to means by lag bin.

    Parameters
    ----------
    mean : logits; NaN where a bin was not seen
    turns : (layer, pair, lag) mean of ``exp(i lag w)`` over each bin

    Returns
    -------
    amplitude, logits, and the share of the mean square that is explained; NaN without a bin
    """
    seen = np.isfinite(mean)
    values = np.where(seen, mean, 0.0).astype(float)
    cosine, sine = (np.where(seen, part[:, None], 0.0) for part in (turns.real, turns.imag))
    cc, ss, cs = ((one * other).sum(-1) for one, other in ((cosine, cosine), (sine, sine), (cosine, sine)))
    cv, sv = (cosine * values).sum(-1), (sine * values).sum(-1)
    total = (values**2).sum(-1)
    determinant = cc * ss - cs**2
    with np.errstate(divide="ignore", invalid="ignore"):
        known = determinant > 1e-12 * cc * ss  # else the pair does not turn, and its contribution is constant
        a = np.where(known, (ss * cv - cs * sv) / determinant, cv / cc)
        b = np.where(known, (cc * sv - cs * cv) / determinant, 0.0)
        fit = (a * cv + b * sv) / total
    return np.hypot(a, b), fit
