"""The extrapolation law against measurement: a line through the logarithms of predicted and measured limit.

A slope of 1 and a ratio of 1 would be the law itself; a slope of 1 with another ratio is the law with
another share of a turn counted as trained.
"""

import json
from dataclasses import dataclass, fields

import numpy as np
import scipy
import xarray as xr
from jaxtyping import Float

from ropediag.errors import ConfigError, FormatError


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


def read_law(table: xr.Dataset) -> LawFit | None:
    """Read the fit that the table of a study records; None if it records none.

    Raises
    ------
    FormatError
        If what it records is no fit.
    """
    recorded = table.attrs.get("law")
    if recorded is None:
        return None
    try:
        found = json.loads(recorded)
        numbers = {each.name: float(found[each.name]) for each in fields(LawFit) if each.name != "count"}
        return LawFit(**numbers, count=int(found["count"]))
    except (TypeError, ValueError, LookupError, RecursionError) as error:
        raise FormatError(f"the law that the study's table records is no fit: {recorded!r:.80}.") from error


def word_law(table: xr.Dataset) -> str:
    """Say what the models of a study make of the law; errors as ``read_law``."""
    law = read_law(table)
    if law is None:
        return "Too few of its models show both limits for a line."
    return (
        f"{law.count:,.0f} models above their critical base. On logarithmic axes a line of slope "
        f"{law.slope:.2f} (95 % interval {law.low:.2f} to {law.high:.2f}) fits them with R² "
        f"{law.r_squared:.3f}; the law itself has slope 1. Measured over "
        f"predicted limits are {law.ratio_low:.2f} to {law.ratio_high:.2f}."
    )
