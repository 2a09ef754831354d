"""Compare: what a diagnostic says of one capture minus what it says of another, where both can say it."""

import numpy as np
import xarray as xr

from ropediag.analysis.diagnostic import KEPT_ATTRIBUTES, list_diagnostics
from ropediag.analysis.kind import check_capture
from ropediag.errors import ConfigError
from ropediag.schema import lag_edges
from ropediag.store import Capture

SCORES = "scores"  # the statistics of the file itself, beside the diagnostics
SCORE_VARIABLES = ("mean", "mean_se", "std", "rest_mean")
OWN = (*KEPT_ATTRIBUTES, "replicates")  # attributes of each capture for itself
BINS = {"lag": 8, "coarse_lag": 2, "query_position": 2}  # axes of bins, and how many each doubling holds
SAME_GEOMETRY = ("pair", "channel")  # an index along these means the same only if there are as many


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
    """Measure both captures and keep the labels they have in common; arguments and errors as above.

    Each has an attribute ``replicates``: how many its errors rest on, at the least.
    """
    captures = (first, second)
    _check_geometry(captures)
    return match(captures, (measure_one(first, name), measure_one(second, name)), name)


def measure_one(capture: Capture, name: str, **at: int) -> xr.Dataset:
    """Measure what ``name`` says of one capture, for ``match``.

    Parameters
    ----------
    name : as in ``compare_captures``
    at : axis -> label; of the scores, which are large, only these are read

    Raises
    ------
    ConfigError
        If there is no such diagnostic, or the file is no capture or cannot answer it.
    """
    if name not in list_comparisons():
        raise ConfigError(f"nothing is called {name!r}: choose from {', '.join(list_comparisons())}.")
    check_capture(capture)
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
    chosen = {dim: [label] for dim, label in at.items()}
    for dim, label in at.items():
        if label not in capture.values(dim):
            raise ConfigError(
                f"{capture.path} holds no {dim} {label}: it holds {capture.values(dim).tolist()}."
            )
    return capture[SCORES][held].sel(chosen).load().assign_attrs(labels | known)


def match(
    captures: tuple[Capture, Capture], measured: tuple[xr.Dataset, xr.Dataset], name: str
) -> tuple[xr.Dataset, xr.Dataset]:
    """Keep what was measured on both captures, on the labels both have; errors as in ``measure_both``."""
    _check_geometry(captures)
    cut = [
        _drop_cut_bins(found, captures).assign_attrs(replicates=_replicates(capture, name))
        for found, capture in zip(measured, captures, strict=True)
    ]
    both = [variable for variable in cut[0] if variable in cut[1]]
    one, other = xr.align(*(found[both] for found in cut), join="inner")
    for dim, size in one.sizes.items():
        if not size:
            held = " and ".join(
                f"{found[dim].values.tolist()} in {capture.path}"
                for found, capture in zip(cut, captures, strict=True)
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
    attributes = {key: value for key, value in second.attrs.items() if key not in OWN}
    attributes["high"] = f"more of this in the second: {attributes['high']}"
    for key in OWN:
        for side, found in (("first", first), ("second", second)):
            if key in found.attrs:
                attributes[f"{side}_{key}"] = found.attrs[key]
    return xr.Dataset(differences, attrs=attributes)


def _replicates(capture: Capture, name: str) -> int:
    """Count the replicates behind a diagnostic's errors: whole sequences, or the blocks of the file's."""
    between_sequences = name != SCORES and list_diagnostics()[name].between_sequences
    return capture.sizes["sequence" if between_sequences else "replicate"]


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
