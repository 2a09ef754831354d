"""Draw the figures of the open questions: ``python docs/images/open_questions.py``.

Reads what ``docs/open-questions.md`` names, from ``studies/results/``. Needs what ``breakdown.py`` needs.
"""

from pathlib import Path

import xarray as xr

from ropediag.plots.excess import plot_excess
from ropediag.plots.reach import plot_reach

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "studies" / "results"

for name, plot in (
    ("critical-dimension", plot_reach),
    ("extreme-lengths", plot_excess),
    ("base-for-length", plot_reach),
):
    with xr.open_dataset(RESULTS / f"{name}.h5", engine="h5netcdf") as table:
        flags = {flag: table[flag].astype(bool) for flag in ("tuned", "past_critical_base") if flag in table}
        plot(table.assign(flags)).write_image(HERE / f"{name}.svg", scale=2)
    print(f"wrote {name}.svg")
