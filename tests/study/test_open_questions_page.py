"""What ``docs/open-questions.md`` states in its tables is what the shipped tables say."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ropediag.limits import extrapolation_limit
from ropediag.store import open_study

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "studies" / "results"
PAGE = (ROOT / "docs" / "open-questions.md").read_text(encoding="utf-8")
HEADS = {"h32": 32, "h64": 64, "h128": 128}
SHIPPED = {"demo": "untuned, base 10,000", "demo-b500-t128-s0": "base 500",
           "demo-b160000-t128-s0": "base 160,000", "demo-b16000000-t128-s0": "base 16,000,000"}  # fmt: skip
ADVISED = {181345: "half", 362690: "advised", 725379: "twice", 1362161: "half", 2724322: "advised",
           5448644: "twice"}  # fmt: skip


def rows_of(name):
    table = open_study(RESULTS / f"{name}.h5")
    return [table.isel(model=row) for row in range(table.sizes["model"])]


def interval(row):
    low, high = float(row.measured_low), float(row.measured_high)
    return f"{low:,.0f} to {high:,.0f}" if np.isfinite(low + high) else "none"


@pytest.mark.parametrize("row", rows_of("critical-dimension"), ids=lambda row: str(row.model.item()))
def test_the_first_table_is_that_of_its_study(row):
    numbers = HEADS[str(row.model.item()).split("-")[0]], float(row.base), 1e4, int(row.train_len)
    tuned = bool(row.tuned)
    bare = extrapolation_limit(*numbers, int(row.tune_len), ceiled=False) if tuned else float(row.predicted)
    law, measured = float(row.predicted), float(row.measured)
    base = f"{float(row.base):,.0f}" if tuned else "untuned"
    cells = f"{base} | {law:,.0f} | {bare:,.0f} | {measured:,.0f} | {interval(row)} | {measured / law:.2f} |"
    assert cells in PAGE


def test_the_second_table_is_that_of_its_curves():
    with xr.open_dataset(RESULTS / "extreme-lengths.h5", engine="h5netcdf") as curves:
        for name, label in SHIPPED.items():
            excess = curves.excess.sel(model=name)
            cells = []
            for multiple in (2, 4, 8, 16, 32, 64, 128, 256, 512, 930):
                near = excess.sel(position=128 * multiple, method="nearest")
                cells.append(f"{abs(float(near)) if abs(float(near)) < 0.005 else float(near):.2f}")
            assert f"| {label} | {' | '.join(cells)} |" in PAGE


@pytest.mark.parametrize("row", rows_of("base-for-length"), ids=lambda row: str(row.model.item()))
def test_the_third_table_is_that_of_its_study(row):
    base, cost = int(row.base), ""
    if bool(row.tuned):
        ends = (float(row[f"short_context_cost{end}"]) for end in ("", "_low", "_high"))
        cost = "{:.3f} ({:.3f} to {:.3f})".format(*ends)
    named = f"{base:,}, {ADVISED[base]}" if base in ADVISED else "500" if base == 500 else "10,000, untuned"
    cells = (
        f"| {named} | {float(row.predicted):,.0f} | {float(row.measured):,.0f} | {interval(row)} | "
        f"{float(row.recall_reach):,.0f} | {cost}"
    )
    assert cells.rstrip() in PAGE
