"""Draw how well planted drift is found: ``python docs/images/drift_detector.py [IMAGE]``.

Reads what ``benchmarks/drift_detector.py`` wrote. Needs what ``breakdown.py`` needs.
"""

import csv
import sys
from pathlib import Path

import xarray as xr

from ropediag.plots.operating_curve import plot_operating_curve

MEANINGS = {
    "recall": "recall: planted pairs that are found",
    "precision": "precision: found pairs that were planted",
    "onset_within_one_bin": "found pairs whose onset is right to one lag bin",
}
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "drift_detector.csv"

with RESULTS.open(newline="") as file:
    rows = [row for row in csv.DictReader(file) if float(row["size"])]
size = (
    "size",
    [float(row["size"]) for row in rows],
    {"units": "in-range std", "long_name": "size of the planted drift"},
)
shares = {
    name: ("size", [float(row[name]) for row in rows], {"long_name": text}) for name, text in MEANINGS.items()
}
image = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("drift-detector.svg")
plot_operating_curve(xr.Dataset(shares, {"size": size})).write_image(image, width=760, scale=2)
print(f"wrote {image}")
