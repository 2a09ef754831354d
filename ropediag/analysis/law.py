"""The extrapolation law against measurement: a line through the logarithms of predicted and measured limit.

A slope of 1 and a ratio of 1 would be the law itself; a slope of 1 with another ratio is the law with
another share of a turn counted as trained.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float

from ropediag.errors import ConfigError


@dataclass(frozen=True)
class LawFit:
    """A line through log(measured) against log(predicted), by least squares.

    Attributes
    ----------
    slope, low, high : with its 95 % interval (Student's t, models as independent)
    intercept : natural logarithm of the measured limit where the predicted one is a single token
    r_squared : share of the variance of log(measured) that the line explains
    ratio : geometric mean of measured over predicted
    ratio_low, ratio_high : smallest and largest of them
    count : models
    """

    slope: float
    low: float
    high: float
    intercept: float
    r_squared: float
    ratio: float
    ratio_low: float
    ratio_high: float
    count: int


def fit_law(predicted: Float[np.ndarray, " model"], measured: Float[np.ndarray, " model"]) -> LawFit:
    """Fit the line.

    Parameters
    ----------
    predicted, measured : limits, tokens, above 0 and finite; at least three different predictions

    Raises
    ------
    ConfigError
        If there are too few models, or a limit is not a positive number.
    """
    for name, limits in (("predicted", predicted), ("measured", measured)):
        if not (np.isfinite(limits) & (limits > 0)).all():
            raise ConfigError(f"{name} limits must be positive numbers of tokens: got {limits.tolist()}.")
    if len(np.unique(predicted)) < 3:
        raise ConfigError(
            f"a line takes at least three different predicted limits: got {np.unique(predicted).tolist()}."
        )
    line = scipy.stats.linregress(np.log(predicted), np.log(measured))
    half = float(scipy.stats.t.ppf(0.975, len(predicted) - 2) * line.stderr)
    ratios = measured / predicted
    return LawFit(
        slope=float(line.slope),
        low=float(line.slope) - half,
        high=float(line.slope) + half,
        intercept=float(line.intercept),
        r_squared=float(line.rvalue) ** 2,
        ratio=float(np.exp(np.log(ratios).mean())),
        ratio_low=float(ratios.min()),
        ratio_high=float(ratios.max()),
        count=len(predicted),
    )
