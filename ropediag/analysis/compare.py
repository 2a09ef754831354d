"""Compare: what a diagnostic says of one capture minus what it says of another, where both can say it."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from ropediag.analysis.diagnostic import KEPT_ATTRIBUTES, list_diagnostics
from ropediag.analysis.kind import check_capture
from ropediag.errors import ConfigError
from ropediag.schema import lag_edges
from ropediag.store import Capture

SCORES = "scores"  # the statistics of the file itself, beside the diagnostics
SCORE_VARIABLES = ("mean", "mean_se", "std", "rest_mean")
BINS = {"lag": 8, "coarse_lag": 2, "query_position": 2}  # axes of bins, and how many each doubling holds
SAME_GEOMETRY = ("pair", "channel")  # an index along these means the same only if there are as many
ROUNDING = 1e-9  # of the largest number in either: a smaller difference is none
SURE = 2.0  # errors: what a difference must exceed to be ranked, where it has an error


@dataclass(frozen=True)
class Difference:
    """One number of a diagnostic, in both captures.

    Attributes
    ----------
    variable, units : of the diagnostic
    at : axis -> label, a number or a word
    first, second, difference : the two numbers, and second minus first
    error : of the difference; None where it has none
    """

    variable: str
    units: str
    at: dict[str, int | float | str]
    first: float
    second: float
    difference: float
    error: float | None


def list_comparisons() -> tuple[str, ...]:
    """Name all that can be compared: ``scores`` and every diagnostic."""
    return (SCORES, *sorted(list_diagnostics()))


def compare_captures(first: Capture, second: Capture, name: str) -> xr.Dataset:
    """Subtract what ``name`` measures on the first capture from what it measures on the second.

    Parameters
    ----------
    name : a diagnostic, or ``scores`` for the mean and the deviation of every pair by lag

    Returns
    -------
    xr.Dataset
        The variables of the diagnostic, second minus first, on the labels both have; angles in (-pi, pi]. The
        error of a difference, where both have one, is the root of the sum of squares: that of independent
        captures, too large for two of the same text.

    Raises
    ------
    ConfigError
        If there is no such diagnostic, one of the captures cannot answer it, or they cannot be compared.
    """
    return subtract(*measure_both(first, second, name))


def measure_both(first: Capture, second: Capture, name: str) -> tuple[xr.Dataset, xr.Dataset]:
    """Measure both captures and keep the labels they have in common; arguments and errors as above."""
    if name not in list_comparisons():
        raise ConfigError(f"nothing is called {name!r}: choose from {', '.join(list_comparisons())}.")
    captures = (first, second)
    _check_geometry(captures)
    measured = [_drop_cut_bins(_measure(capture, name), captures) for capture in captures]
    both = [variable for variable in measured[0] if variable in measured[1]]
    one, other = xr.align(*(found[both] for found in measured), join="inner")
    for dim, size in one.sizes.items():
        if not size:
            held = " and ".join(
                f"{found[dim].values.tolist()} in {capture.path}"
                for found, capture in zip(measured, captures, strict=True)
            )
            raise ConfigError(f"{name} has no {dim} in common: {held}. Capture the same ones.")
    return one, other


def subtract(first: xr.Dataset, second: xr.Dataset) -> xr.Dataset:
    """Subtract two Datasets of the same labels, variable by variable; see ``compare_captures``."""
    differences = {}
    for name, values in second.data_vars.items():
        one, other = first[name].astype(float), values.astype(float)
        meaning, units = str(values.attrs["long_name"]), str(values.attrs["units"])
        if str(name).endswith("_se"):
            difference, meaning = (one**2 + other**2) ** 0.5, f"{meaning}, of the difference"
        else:
            difference, meaning = other - one, f"{meaning}, difference"
            if units == "rad":
                difference = np.pi - (np.pi - difference) % (2 * np.pi)
        kind = np.result_type(values.dtype, np.float32)  # numbers of the file stay as small as they were
        differences[name] = difference.astype(kind).assign_attrs(units=units, long_name=meaning)
    attributes = {key: value for key, value in second.attrs.items() if key not in KEPT_ATTRIBUTES}
    attributes["high"] = f"more of this in the second: {attributes['high']}"
    for key in KEPT_ATTRIBUTES:
        for side, found in (("first", first), ("second", second)):
            if key in found.attrs:
                attributes[f"{side}_{key}"] = found.attrs[key]
    return xr.Dataset(differences, attrs=attributes)


def rank_differences(
    first: xr.Dataset, second: xr.Dataset, count: int, variable: str | None = None
) -> list[Difference]:
    """List the largest differences of one variable, largest first.

    Parameters
    ----------
    first, second : of the same labels, from ``measure_both``
    count : how many at most; where any has an error, only those above twice their error
    variable : the one the diagnostic shows if None
    """
    name = variable or str(second.attrs["shows"])
    found = subtract(first[[name]], second[[name]])[name]
    size = abs(found.values.ravel())
    scale = max(float(abs(part[name]).max()) for part in (first, second))
    error = None
    if f"{name}_se" in second:
        own = f"{name}_se"
        error = subtract(first[[own]], second[[own]])[own].transpose(*found.dims).values.ravel()
        if np.isfinite(error).any():  # a single sequence has none
            size = np.where(size > SURE * error, size, np.nan)
    order = np.argsort(np.nan_to_num(size, nan=-1.0), kind="stable")[::-1][:count]
    ranked = []
    for place in order[size[order] > ROUNDING * scale]:
        index = np.unravel_index(place, found.shape)
        at = {str(dim): found[dim].values[step].item() for dim, step in zip(found.dims, index, strict=True)}
        one, other = (part[name].transpose(*found.dims).values[index].item() for part in (first, second))
        ranked.append(
            Difference(
                variable=name,
                units=str(found.attrs["units"]),
                at=at,
                first=float(one),
                second=float(other),
                difference=float(found.values[index]),
                error=float(error[place]) if error is not None and np.isfinite(error[place]) else None,
            )
        )
    return ranked


def _measure(capture: Capture, name: str) -> xr.Dataset:
    if name != SCORES:
        return list_diagnostics()[name](capture).load()
    held = [variable for variable in SCORE_VARIABLES if f"scores/{variable}" in capture]
    labels = {
        "question": "What does each pair add to the logit, by lag?",
        "high": "the pair adds more to the logit",
        "interval": "standard error of the mean from the capture's replicates",
        "source": "exact over all query-key pairs",
        "shows": "mean",
        "diagnostic": SCORES,
    }
    known = {key: capture.attrs[key] for key in KEPT_ATTRIBUTES if key in capture.attrs}
    return capture[SCORES][held].load().assign_attrs(labels | known)


def _check_geometry(captures: tuple[Capture, Capture]) -> None:
    for capture in captures:
        check_capture(capture)
    first, second = captures
    for dim in SAME_GEOMETRY:
        sizes = [capture.sizes.get(dim) for capture in captures]
        if None not in sizes and sizes[0] != sizes[1]:
            raise ConfigError(
                f"{first.path} has {sizes[0]} {dim}s a head and {second.path} {sizes[1]}: number n of one is "
                "not number n of the other. Compare captures of models with heads of the same shape."
            )


def _drop_cut_bins(found: xr.Dataset, captures: tuple[Capture, Capture]) -> xr.Dataset:
    """Of captures of different lengths, leave out the last bin of the shorter where its end cuts it."""
    lengths = {int(capture.attrs["length"]) for capture in captures}
    shorter = min(lengths)
    for dim, per_doubling in BINS.items():
        cut = shorter not in lag_edges(2 * shorter + 1, per_doubling)
        if dim in found.dims and len(lengths) > 1 and cut:
            last = lag_edges(shorter, per_doubling)[-1]
            found = found.sel({dim: found[dim] != last})
    return found
