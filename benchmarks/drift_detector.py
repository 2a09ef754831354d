"""How well planted drift is found: recall, precision and onset by size, and false alarms where nothing drifts.

    python benchmarks/drift_detector.py --seeds 40
    python benchmarks/drift_detector.py --seeds 40 --models yarn4 b160000 --sizes 0 0.5 0.75 1 2 \\
        --out benchmarks/results/drift_detector_tuned.csv

Planted captures are resampled from the shipped one (8 sequences of 8,192 tokens) with fresh seeds, 5 % of the pairs
without a full turn in training planted. Pairs that made one meet no unseen angle, are not tested, and are not counted.
Writes ``benchmarks/results/drift_detector.csv``, which the figure in the docs draws; size 0 has nothing planted. With
``--models`` the source is a capture of each, 8 sequences of 4,096 tokens, whose pairs have seen lags far beyond the
training length: those of a model under a scaling rule, and of one tuned with a larger base.
"""

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
from reach_curve import NAMED, scale_demo

from ropediag import open_capture
from ropediag.analysis.drift import measure_drift
from ropediag.capture import capture_checkpoint
from ropediag.config import CaptureConfig
from ropediag.testing.planted import choose_plants, plant_drift

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "captures" / "example-8192.h5"
RESULTS = ROOT / "benchmarks" / "results" / "drift_detector.csv"
SIZES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
SHARE = 0.05
FIRST_SEED = 10_000  # far from the seeds of the tests
LENGTH, SEQUENCES = 4096, 8  # of the captures of other models


def drift_of(path: Path):
    with open_capture(path) as capture:
        return measure_drift(capture).load()


def capture_model(name: str, folder: Path) -> Path:
    """Capture one of the models of ``reach_curve.py``."""
    model = str(scale_demo(folder, 4.0)) if name == "yarn4" else NAMED[name]
    out = folder / f"{name}.h5"
    return capture_checkpoint(CaptureConfig(model, LENGTH, out, sequences=SEQUENCES, device="cpu", rows=4))


def score_size(size: float, seeds: int, folder: Path, path: Path = SOURCE) -> dict[str, float]:
    """Plant drifts of one size in ``seeds`` captures, and count."""
    hits = misses = alarms = quiet = near = 0
    with open_capture(path) as source:
        lag = source.values("lag")
        for seed in range(FIRST_SEED, FIRST_SEED + seeds):
            plants = choose_plants(source, SHARE, size, seed) if size else []
            drift = drift_of(plant_drift(source, folder / "planted.h5", plants, seed))
            truth = np.zeros(drift.drifts.shape, dtype=bool)
            for plant in plants:
                place = (plant.layer, plant.query_head, plant.pair)
                truth[place] = True
                if drift.drifts.values[place]:
                    found, planted = np.searchsorted(lag, [drift.onset.values[place], plant.onset])
                    near += abs(found - planted) <= 1
            called, tested = drift.drifts.values, np.isfinite(drift.p_value.values)
            hits, misses = hits + (called & truth).sum(), misses + (~called & truth).sum()
            alarms, quiet = alarms + (called & ~truth).sum(), quiet + (tested & ~truth).sum()
    return {
        "size": size,
        "recall": hits / (hits + misses) if hits + misses else np.nan,
        "precision": hits / (hits + alarms) if hits + alarms else np.nan,
        "onset_within_one_bin": near / hits if hits else np.nan,
        "false_alarms": alarms,
        "quiet_pairs": quiet,
        "planted_pairs": hits + misses,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--sizes", nargs="+", type=float, default=SIZES)
    parser.add_argument("--models", nargs="+", choices=list(NAMED), help="instead of the shipped capture")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = {model: capture_model(model, folder) for model in options.models or ()} or {"": SOURCE}
        for model, path in sources.items():
            for size in options.sizes:
                row = score_size(size, options.seeds, folder, path)
                rows.append({"model": model} | row if model else row)
                print(model, ", ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
    options.out.parent.mkdir(exist_ok=True)
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
