"""Draw the figures of ``docs/trained-reach.md``: repair curves, and the seen and unseen lags of every pair.

Needs what ``breakdown.py`` needs.
"""

import csv
from pathlib import Path

import numpy as np
import xarray as xr

from ropediag.analysis.reach_curves import FACTS, SHARES
from ropediag.analysis.seen_lags import measure_seen_lags
from ropediag.plots.reach_curves import plot_reach_curves
from ropediag.plots.seen_lags import plot_seen_lags
from ropediag.theory.training import plain_training

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "benchmarks" / "results" / "reach_curve.csv"
NAMES = {
    "demo": "untuned",
    "yarn4": "under YaRN 4, untrained",
    "b160000": "tuned to base 160,000",
    "b16000000": "tuned to base 16,000,000",
}
LENGTH = 8192  # tokens up to which lags are shown


def read_curves(path: Path = RESULTS) -> xr.Dataset:
    """The curves of the results as ``measure_reach_curves`` gives those of files."""
    with path.open(encoding="utf-8", newline="") as file:
        every = list(csv.DictReader(file))
    rows = [row for row in every if row["limits"] == "own" and row["until"] == row["length"]]
    curves = list(dict.fromkeys((row["model"], row["kind"]) for row in rows))
    at = sorted({float(row["at"]) for row in rows})
    first = {(row["model"], row["kind"]): row for row in rows[::-1]}
    shares = {name: np.full((len(curves), len(at)), np.nan) for name in SHARES}
    for row in rows:
        place = curves.index((row["model"], row["kind"])), at.index(float(row["at"]))
        for name, key in zip(SHARES, ("repaired", "low", "high"), strict=False):
            shares[name][place] = float(row[key])
    facts = {
        "model": [NAMES[model] for model, _ in curves],
        "kind": [kind for _, kind in curves],
        "pairs": ["past" for _ in curves],
        "sequences": [int(first[curve]["sequences"]) for curve in curves],
        "length": [int(first[curve]["length"]) for curve in curves],
    }
    reaches = {
        name: ("ablation", [float(first[curve][name]) for curve in curves])
        for name in ("smallest_reach", "largest_reach")
    }
    return xr.Dataset(
        {
            **{
                name: (("ablation", "at"), shares[name], {"long_name": text}) for name, text in SHARES.items()
            },
            **{name: ("ablation", facts[name]) for name in FACTS},
            **reaches,
        },
        {
            "ablation": [f"{model}, {kind}" for model, kind in curves],
            "at": ("at", at, {"long_name": "lag limit, in trained reaches of each pair"}),
        },
    )


def main() -> None:
    tuned = plain_training(64, 160_000.0, pretrain_base=10_000.0, train_len=128, tune_len=128)
    figures = {
        "trained-reach-curves": plot_reach_curves(read_curves()),
        "trained-reach-lags": plot_seen_lags(measure_seen_lags(tuned, LENGTH), measured_limit=468),
    }
    for name, figure in figures.items():
        figure.write_image(HERE / f"{name}.svg", width=900, scale=2)
        print(f"wrote {HERE / name}.svg")


if __name__ == "__main__":
    main()
