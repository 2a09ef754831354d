"""Small tables of the comparison: limits of captures, and the largest differences."""

import math
from typing import Any

import dash_mantine_components as dmc
import xarray as xr

from ropediag.analysis.ranking import Ranking

LEAST_WIDTH = 860  # pixels: a narrower page scrolls the table


def show_limits(limits: xr.Dataset) -> Any:
    """Show a row a capture: what it is, predicted and measured limit, critical and measured onset pair."""
    head = ("capture", "base", "trained at", "tuned at", "read at", "scaling", "law's limit",
            "measured limit (95 %)", "critical pair", "drift begins at (95 %)")  # fmt: skip
    rows: list[list[str]] = []
    for name in limits.capture.values.tolist():
        own = limits.sel(capture=name)
        rows.append(
            [
                name if rows else f"{name} (selected)",
                f"{float(own.base):,.10g}",
                *(_count(own[each]) for each in ("train_len", "tune_len", "length")),
                str(own.scaling.item()),
                _count(own.predicted),
                _interval(own, "measured"),
                _count(own.critical_pair),
                _interval(own, "onset_pair"),
            ]
        )
    return _show_table(head, rows)


def show_differences(ranking: Ranking) -> list[Any]:
    """Show the largest differences of one variable, and how many stand."""
    unit = "" if ranking.units == "1" else f" ({ranking.units})"
    if ranking.tested:
        said = (
            f"Of {ranking.tested:,} tested differences {ranking.standing:,} stand at a rate of false "
            "discoveries of 1 %. The largest of them:"
        )
    else:
        said = f"This variable has no errors; {ranking.standing:,} cells differ. The largest:"
    head = ("where", f"selected{unit}", "other", "difference", "± standard error")
    rows = [
        [
            ", ".join(f"{axis.removeprefix('query_')} {label}" for axis, label in each.at.items()),
            f"{each.first:.4g}",
            f"{each.second:.4g}",
            f"{each.difference:+.4g}",
            "" if each.error is None else f"{each.error:.2g}",
        ]
        for each in ranking.differences
    ]
    if not rows:
        return [
            dmc.Text("No difference stands." if ranking.tested else "Nothing differs.", size="sm", mb="md")
        ]
    return [dmc.Text(said, size="sm"), _show_table(head, rows)]


def _show_table(head: tuple[str, ...], rows: list[list[str]]) -> Any:
    table = dmc.Table(
        [
            dmc.TableThead(dmc.TableTr([dmc.TableTh(cell) for cell in head])),
            dmc.TableTbody([dmc.TableTr([dmc.TableTd(cell) for cell in row]) for row in rows]),
        ],
        fz="xs",
        verticalSpacing=4,
        striped=True,
        mb="md",
    )
    return dmc.TableScrollContainer(table, minWidth=LEAST_WIDTH)


def _count(value: xr.DataArray) -> str:
    number = float(value)
    return f"{number:,.0f}" if math.isfinite(number) and number > 0 else "none"


def _interval(own: xr.Dataset, name: str) -> str:
    low, high = float(own[f"{name}_low"]), float(own[f"{name}_high"])
    return _count(own[name]) + (f" ({low:,.0f} to {high:,.0f})" if math.isfinite(low + high) else "")
