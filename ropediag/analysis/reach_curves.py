"""What ablations repair that limit lags at one multiple of the trained reach after another, as curves."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ropediag.analysis.repair_figures import RepairFigures, read_figures
from ropediag.errors import ConfigError
from ropediag.store import Capture

AXES = ("ablation", "at")
SHARES = {
    "repaired": "share of the damage repaired",
    "repaired_low": "lower end of the 95 % interval: share of the damage repaired",
    "repaired_high": "upper end of the 95 % interval: share of the damage repaired",
    "random_mean": "share repaired by random pairs, limited like the chosen ones; mean over the sets",
}
FACTS = {
    "model": ("1", "model"),
    "kind": ("1", "what becomes of lags beyond the limit"),
    "pairs": ("1", "the pairs whose lags are limited"),
    "sequences": ("1", "sequences, over which the intervals are"),
    "length": ("tokens", "length of the sequences"),
}
LEAST = 2  # multiples of a curve


def measure_reach_curves(ablations: Mapping[str, Capture]) -> xr.Dataset:
    """Gather the curves of ablations; what is returned, and errors, as ``tabulate_reach_curves``.

    Parameters
    ----------
    ablations : what to call each -> an open file of kind ``ablation``

    Raises
    ------
    ConfigError
        If one is a file of another kind, or none has a curve.
    FormatError
        If the figures of one are missing or malformed.
    """
    return tabulate_reach_curves({name: read_figures(each) for name, each in ablations.items()})


def tabulate_reach_curves(read: Mapping[str, RepairFigures]) -> xr.Dataset:
    """Set the curves of ablations side by side; those at a single multiple of the reach are left out.

    Parameters
    ----------
    read : what to call each -> what ``read_figures`` gave

    Returns
    -------
    xr.Dataset over (ablation, at)
        ``repaired``, ``repaired_low``, ``repaired_high``: share of the damage over all positions past the
        trained length, with its 95 % interval; ``random_mean``: by random sets. ``model``, ``kind``,
        ``pairs``, ``sequences``, ``length``, ``smallest_reach`` and ``largest_reach`` (ablation), lengths
        and reaches in tokens. ``at`` is a multiple of each pair's own trained reach. NaN where an ablation
        was not measured at a multiple, has no damage or no random sets, and where an interval has no end.

    Raises
    ------
    ConfigError
        If none has a curve.
    """
    figures = {name: each for name, each in read.items() if len(each.at) >= LEAST}
    if not figures:
        raise ConfigError(
            "there is no curve over the trained reach. Make one: ropediag ablate --kind fold "
            "--at 0.7,0.85,1,1.1,1.2,1.4 --out NAME.h5."
        )
    multiples = sorted({at for each in figures.values() for at in each.at})
    found = {name: np.full((len(figures), len(multiples)), np.nan) for name in SHARES}
    for row, each in enumerate(figures.values()):
        for at, interval in each.curve.items():
            column = multiples.index(at)
            for name, value in zip(SHARES, interval, strict=False):
                found[name][row, column] = value
            shares = each.curve_random[at]
            found["random_mean"][row, column] = np.mean(shares) if shares else np.nan
    facts = {
        name: ("ablation", [getattr(each, name) for each in figures.values()], _describe(units, text))
        for name, (units, text) in FACTS.items()
    }
    reaches = {
        f"{word}_reach": (
            "ablation",
            [each.reach[end] for each in figures.values()],
            _describe("tokens", text),
        )
        for end, (word, text) in enumerate(
            (
                ("smallest", "smallest trained reach of the pairs"),
                ("largest", "largest trained reach of the pairs"),
            )
        )
    }
    return xr.Dataset(
        {
            **{name: (AXES, found[name], _describe("1", text)) for name, text in SHARES.items()},
            **facts,
            **reaches,
        },
        {
            "ablation": ("ablation", list(figures), _describe("1", "file")),
            "at": ("at", multiples, _describe("1", "lag limit, in trained reaches of each pair")),
        },
    )


def _describe(units: str, text: str) -> dict[str, str]:
    return {"units": units, "long_name": text}
