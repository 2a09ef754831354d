"""Draw the figure of a study: ``python docs/images/scaling_law.py TABLE [IMAGE]``.

Needs what ``breakdown.py`` needs.
"""

import sys
from pathlib import Path

import xarray as xr

from ropediag.plots.law import plot_law

with xr.open_dataset(sys.argv[1], engine="h5netcdf") as table:
    figure = plot_law(table.assign(past_critical_base=table.past_critical_base.astype(bool)))
image = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_name("scaling-law.svg")
figure.write_image(image, scale=2)
print(f"wrote {image}")
