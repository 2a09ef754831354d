"""Ranking: the largest differences of two captures, and which of them stand against their errors.

Of thousands of numbers hundreds differ by twice their error when nothing differs at all. So all entries of a
variable are tested together: Welch's t of each difference, with Satterthwaite's degrees of freedom, and the
false discoveries among those that stand held at 1 % after Benjamini and Hochberg 1995.
"""

from dataclasses import dataclass

import numpy as np
import scipy
import xarray as xr
from jaxtyping import Float

from ropediag.analysis.compare import subtract
from ropediag.analysis.drift import FALSE_DISCOVERIES, control_false_discoveries

ROUNDING = 1e-9  # of the largest number in either: a smaller difference is none


@dataclass(frozen=True)
class Difference:
    """One number of a diagnostic, in both captures.

    Attributes
    ----------
    at : axis -> label, a number or a word
    first, second, difference : the two numbers, and second minus first
    error : of the difference; None where the variable has none
    q_value : lowest rate of false discoveries at which the difference stands; None likewise
    """

    at: dict[str, int | float | str]
    first: float
    second: float
    difference: float
    error: float | None
    q_value: float | None


@dataclass(frozen=True)
class Ranking:
    """The largest differences of one variable.

    Attributes
    ----------
    variable, units : of the diagnostic
    tested : entries whose difference has an error; 0 where the variable has no errors
    standing : how many of them stand at a rate of false discoveries of 1 %; without errors, how many differ
    differences : the largest of those, largest first
    """

    variable: str
    units: str
    tested: int
    standing: int
    differences: tuple[Difference, ...]


def rank_differences(
    first: xr.Dataset, second: xr.Dataset, count: int, variable: str | None = None
) -> Ranking:
    """Find the differences of one variable that stand, and list the largest.

    Parameters
    ----------
    first, second : of the same labels, from ``measure_both``; without the attribute ``replicates`` their
        errors are taken as exact
    count : how many to list at most
    variable : the one the diagnostic shows if None
    """
    name = variable or str(second.attrs["shows"])
    found = subtract(first[[name]], second[[name]])[name]
    sides = [part[name].transpose(*found.dims).values.ravel().astype(float) for part in (first, second)]
    values = found.values.ravel().astype(float)
    error, q_value = _test(first, second, name, found)
    tested = int(np.isfinite(q_value).sum())
    differs = abs(values) > ROUNDING * max(float(np.nanmax(abs(side), initial=0.0)) for side in sides)
    stands = differs & (q_value <= FALSE_DISCOVERIES) if tested else differs
    order = np.argsort(np.where(stands, -abs(values), np.inf), kind="stable")[: min(count, int(stands.sum()))]
    labels = [found[dim].values for dim in found.dims]

    def describe(place: int) -> Difference:
        index = np.unravel_index(place, found.shape)
        return Difference(
            at={str(dim): own[step].item() for dim, own, step in zip(found.dims, labels, index, strict=True)},
            first=float(sides[0][place]),
            second=float(sides[1][place]),
            difference=float(values[place]),
            error=float(error[place]) if tested else None,
            q_value=float(q_value[place]) if tested else None,
        )

    largest = tuple(describe(int(place)) for place in order)
    return Ranking(name, str(found.attrs["units"]), tested, int(stands.sum()), largest)


def _test(
    first: xr.Dataset, second: xr.Dataset, name: str, found: xr.DataArray
) -> tuple[Float[np.ndarray, " entry"], Float[np.ndarray, " entry"]]:
    """Test that a difference is none, entry by entry; error and q-value are NaN where no error is known."""
    own = f"{name}_se"
    if own not in first or own not in second:
        unknown = np.full(found.size, np.nan)
        return unknown, unknown
    errors = [part[own].transpose(*found.dims).values.ravel().astype(float) for part in (first, second)]
    freedom = [max(float(part.attrs.get("replicates", np.inf)) - 1, 1.0) for part in (first, second)]
    difference = found.values.ravel().astype(float)
    error = np.hypot(*errors)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [(each / error) ** 4 / own for each, own in zip(errors, freedom, strict=True)]
        p_value = 2 * scipy.stats.t.sf(abs(difference) / error, 1 / (parts[0] + parts[1]))
    p_value[(difference == 0) & np.isfinite(error)] = 1.0  # where the error is 0, too
    p_value[(difference != 0) & (error == 0)] = 0.0
    return error, control_false_discoveries(p_value)
