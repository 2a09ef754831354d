"""Repairs: what share of the damage each of several ablations repairs, as one labelled table."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ropediag.analysis.repair_figures import RepairFigures, read_figures
from ropediag.errors import ConfigError
from ropediag.store import Capture

AXES = ("ablation", "multiple")
ENDS = ("", "_low", "_high")
MEANINGS = {
    "damage": ("nats per token", "damage: loss with the full context less that in windows"),
    "repaired": ("1", "share of the damage repaired"),
    "repaired_tail": ("1", "share of the damage repaired over the last quarter of the positions"),
    "above_random": ("1", "share repaired, less the mean of the random sets"),
}
FACTS = {
    "model": ("1", "model"),
    "change": ("1", "the intervention"),
    "pairs": ("1", "the pairs it works on"),
    "trained": ("tokens", "longer of training and tuning length"),
    "length": ("tokens", "length of the sequences"),
    "sequences": ("1", "sequences, over which the intervals are"),
}


def measure_repairs(ablations: Mapping[str, Capture]) -> xr.Dataset:
    """Gather what ablations repaired; what is returned, and errors, as ``tabulate_repairs``.

    Parameters
    ----------
    ablations : what to call each -> an open file of kind ``ablation``

    Raises
    ------
    ConfigError
        If one is a file of another kind.
    FormatError
        If the figures of one are missing or malformed.
    """
    return tabulate_repairs({name: read_figures(each) for name, each in ablations.items()})


def tabulate_repairs(read: Mapping[str, RepairFigures]) -> xr.Dataset:
    """Set the figures of ablations side by side.

    Parameters
    ----------
    read : what to call each -> what ``read_figures`` gave

    Returns
    -------
    xr.Dataset over (ablation, multiple), the ablation that repairs most at the largest multiple first
        ``damage``, ``repaired``, ``repaired_tail``, ``above_random``, each with ``_low`` and ``_high``: as
        ``ropediag.intervene.repair.Repair`` has them, 95 % intervals; ``random_mean``, and ``random``
        (ablation, multiple, set): the shares that random sets of equal size repair. ``model``, ``change``,
        ``pairs`` (ablation): in words; ``trained``, ``length`` (ablation), tokens, and ``sequences``. A
        ``multiple`` is of the trained length. NaN where an ablation has no such multiple, no damage or no
        random sets, and where an interval has no end.

    Raises
    ------
    ConfigError
        If there is none.
    """
    if not read:
        raise ConfigError("there is no ablation. Make one: ropediag ablate --out NAME.h5.")
    names = sorted(read, key=lambda name: _last_share(read[name].repairs), reverse=True)
    figures = [read[name] for name in names]
    multiples = sorted({multiple for each in figures for multiple in each.repairs})
    sets = max(len(shares) for each in figures for shares in each.random.values())
    found, random = _fill_tables(figures, multiples, sets)
    return xr.Dataset(
        {
            **{name: (AXES, values, _describe(name)) for name, values in found.items()},
            "random": ((*AXES, "set"), random, {"units": "1", "long_name": "share repaired by a random set"}),
            "random_mean": (AXES, _mean(random), {"units": "1", "long_name": "mean over the random sets"}),
            **{
                name: (
                    "ablation",
                    [getattr(each, name) for each in figures],
                    {"units": unit, "long_name": text},
                )
                for name, (unit, text) in FACTS.items()
            },
        },
        {
            "ablation": ("ablation", names, {"units": "1", "long_name": "file"}),
            "multiple": (
                "multiple",
                multiples,
                {"units": "1", "long_name": "positions past the trained length, up to a multiple of it"},
            ),
            "set": ("set", np.arange(sets), {"units": "1", "long_name": "index of the random set"}),
        },
    )


def _fill_tables(
    figures: list[RepairFigures], multiples: list[float], sets: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Set out estimates (ablation, multiple) by name and end, and the shares of the random sets."""
    shape = (len(figures), len(multiples))
    found = {f"{name}{end}": np.full(shape, np.nan) for name in MEANINGS for end in ENDS}
    random = np.full((*shape, sets), np.nan)
    for row, each in enumerate(figures):
        for multiple, estimates in each.repairs.items():
            column = multiples.index(multiple)
            for name, interval in estimates.items():
                for end, value in zip(ENDS, interval, strict=True):
                    found[f"{name}{end}"][row, column] = value
            shares = each.random[multiple]
            random[row, column, : len(shares)] = shares
    return found, random


def _last_share(repairs: Mapping[float, Mapping[str, tuple[float, float, float]]]) -> float:
    share = repairs[max(repairs)]["repaired"][0]
    return share if np.isfinite(share) else -np.inf


def _describe(name: str) -> dict[str, str]:
    ends = {"_low": "lower end of the 95 % interval: ", "_high": "upper end of the 95 % interval: "}
    end = next((end for end in ends if name.endswith(end)), "")
    units, meaning = MEANINGS[name.removesuffix(end)]
    return {"units": units, "long_name": ends.get(end, "") + meaning}


def _mean(random: np.ndarray) -> np.ndarray:
    count = np.isfinite(random).sum(-1)
    return np.nansum(random, -1) / np.where(count > 0, count, np.nan)
