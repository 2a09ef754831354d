"""The section of the ablations: what each repairs, and the loss under it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import xarray as xr

from ropediag.analysis.reach_curves import LEAST, tabulate_reach_curves
from ropediag.analysis.repair_curves import measure_repair_curves
from ropediag.analysis.repair_figures import read_figures
from ropediag.analysis.repairs import tabulate_repairs
from ropediag.plots.reach_curves import plot_reach_curves
from ropediag.plots.repair_curves import plot_repair_curves
from ropediag.plots.repairs import plot_repairs
from ropediag.recipe import write_command
from ropediag.report.figures import Drawing, draw
from ropediag.report.made import list_facts
from ropediag.store import Capture

UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True)
class Reach:
    """What one ablation repairs up to one multiple of the trained length, as text; shares in per cent."""

    multiple: str
    damage: str
    repaired: str
    tail: str
    random: str
    above: str


@dataclass(frozen=True, eq=False)
class Ablated:
    """One ablation file.

    Attributes
    ----------
    file : its name
    pairs, change : what was changed, in words
    reaches : what that repaired
    curves : the figure of its losses
    facts, command : how it was made
    """

    file: str
    pairs: str
    change: str
    reaches: tuple[Reach, ...]
    curves: Drawing
    facts: list[tuple[str, str]]
    command: str | None


@dataclass(frozen=True, eq=False)
class CausesSection:
    """What the page says of the ablations.

    Attributes
    ----------
    repairs : the figure of all
    over_reach : the figure of those that were measured at several multiples of the trained reach; None if
        there are none
    ablated : the files, in the order of the figure
    """

    repairs: Drawing
    over_reach: Drawing | None
    ablated: tuple[Ablated, ...]


def describe_causes(ablations: Mapping[str, Capture]) -> CausesSection:
    """Tabulate and draw ablations.

    Raises
    ------
    FormatError
        If the figures of a file are missing or malformed.
    """
    figures = {name: read_figures(file) for name, file in ablations.items()}
    repairs = tabulate_repairs(figures)
    ablated = tuple(
        _describe(ablations[name], repairs.sel(ablation=name), f"causes-{index}")
        for index, name in enumerate(repairs.ablation.values.tolist())
    )
    first, last = ablated[0], ablated[-1]
    text = f"Most: {_word(first)}" + (f" Least: {_word(last)}" if len(ablated) > 1 else "")
    curves = None
    if any(len(each.at) >= LEAST for each in figures.values()):
        curves = _draw_curves(tabulate_reach_curves(figures))
    return CausesSection(draw("causes", plot_repairs(repairs), text), curves, ablated)


def _draw_curves(curves: xr.Dataset) -> Drawing:
    """Draw the curves over the trained reach; in words, what each repairs at its two ends."""
    words = []
    for name in curves.ablation.values:
        one = curves.sel(ablation=name)
        one = one.isel(at=one.repaired.notnull().values)
        ends = (f"{_number(100 * one.repaired[end].item())} % at {one.at[end].item():.4g}" for end in (0, -1))
        words.append(
            f"{one.kind.item()}, {one.pairs.item()}: {' and '.join(ends) if one.at.size else UNKNOWN}."
        )
    return draw("causes-reach", plot_reach_curves(curves), " ".join(words))


def _describe(file: Capture, repairs: xr.Dataset, name: str) -> Ablated:
    curves = measure_repair_curves(file).load()
    known = repairs.isel(multiple=repairs.damage.notnull().values)
    reaches = tuple(_write_reach(known.sel(multiple=multiple)) for multiple in known.multiple.values)
    pairs, change = repairs.pairs.item(), repairs.change.item()
    return Ablated(
        file=repairs.ablation.item(),
        pairs=pairs,
        change=change,
        reaches=reaches,
        curves=draw(name, plot_repair_curves(curves), _word_reach(reaches[-1]) if reaches else ""),
        facts=list_facts(file.attrs, file.sizes["sequence"]),
        command=write_command("ablate", file.attrs.get("config"), file.attrs.get("figures")),
    )


def _word(ablated: Ablated) -> str:
    return f"{ablated.pairs}, {ablated.change}: {_word_reach(ablated.reaches[-1])}" if ablated.reaches else ""


def _word_reach(reach: Reach) -> str:
    share, _, interval = reach.repaired.partition(" ")
    repaired = f"{share} % {interval}".strip()
    return f"{repaired} of the damage repaired up to {reach.multiple} times the trained length."


def _write_reach(at: xr.Dataset) -> Reach:
    return Reach(
        multiple=f"{at.multiple.item():.4g}",
        damage=_number(at.damage.item(), ".2f"),
        repaired=_write_share(at, "repaired"),
        tail=_number(100 * at.repaired_tail.item()),
        random=_number(100 * at.random_mean.item()),
        above=_write_share(at, "above_random"),
    )


def _write_share(at: xr.Dataset, name: str) -> str:
    value, low, high = (_number(100 * at[f"{name}{end}"].item()) for end in ("", "_low", "_high"))
    return value if UNKNOWN in (low, high) else f"{value} ({low} to {high})"


def _number(value: float, form: str = ".0f") -> str:
    return f"{value:z{form}}" if math.isfinite(value) else UNKNOWN
