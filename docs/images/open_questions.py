"""Draw the figures of the open questions: ``python docs/images/open_questions.py``.

Reads what ``docs/open-questions.md`` names, from ``studies/results/``. Needs what ``breakdown.py`` needs.
"""

from pathlib import Path

import xarray as xr

from ropediag.plots.excess import plot_excess
from ropediag.plots.reach import plot_reach
from ropediag.store import open_study

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "studies" / "results"

figures = {
    name: plot_reach(open_study(RESULTS / f"{name}.h5")) for name in ("critical-dimension", "base-for-length")
}
with xr.open_dataset(RESULTS / "extreme-lengths.h5", engine="h5netcdf") as curves:
    figures["extreme-lengths"] = plot_excess(curves)
for name, figure in figures.items():
    figure.write_image(HERE / f"{name}.svg", width=760, scale=2)
    print(f"wrote {name}.svg")
