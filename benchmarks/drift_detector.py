"""How well planted drift is found: recall, precision and onset by size, and false alarms where nothing drifts.

    python benchmarks/drift_detector.py --seeds 40

Planted captures are resampled from the shipped one (8 sequences of 8,192 tokens, 256 pairs) with fresh seeds, 5 %
of all pairs planted. Writes ``benchmarks/results/drift_detector.csv``, which the figure in the docs draws. Nulls:
captures with nothing planted; the pairs of real captures of a single sequence that made a full turn in training;
a model tuned with base 20, all of whose pairs turn within the training length.
"""

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np

from ropediag import CaptureConfig, TuneConfig, capture_checkpoint, open_capture, tune_model
from ropediag.analysis.drift import measure_drift
from ropediag.testing.planted import choose_plants, plant_drift

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "captures" / "example-8192.h5"
RESULTS = ROOT / "benchmarks" / "results" / "drift_detector.csv"
SIZES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
SHARE = 0.05
FIRST_SEED = 10_000  # far from the seeds of the tests


def drift_of(path: Path):
    with open_capture(path) as capture:
        return measure_drift(capture).load()


def score_size(size: float, seeds: int, folder: Path) -> dict[str, float]:
    """Plant drifts of one size in ``seeds`` captures, and count."""
    hits = misses = alarms = quiet = near = 0
    with open_capture(SOURCE) as source:
        lag = source.values("lag")
        for seed in range(FIRST_SEED, FIRST_SEED + seeds):
            plants = choose_plants(source, SHARE, size, seed)
            drift = drift_of(plant_drift(source, folder / "planted.h5", plants, seed))
            truth = np.zeros(drift.drifts.shape, dtype=bool)
            for plant in plants:
                place = (plant.layer, plant.query_head, plant.pair)
                truth[place] = True
                if drift.drifts.values[place]:
                    found, planted = np.searchsorted(lag, [drift.onset.values[place], plant.onset])
                    near += abs(found - planted) <= 1
            called = drift.drifts.values
            hits, misses = hits + (called & truth).sum(), misses + (~called & truth).sum()
            alarms, quiet = alarms + (called & ~truth).sum(), quiet + (~truth).sum()
    return {
        "size": size,
        "recall": hits / (hits + misses),
        "precision": hits / (hits + alarms) if hits + alarms else np.nan,
        "onset_within_one_bin": near / hits if hits else np.nan,
        "false_alarms": alarms,
        "quiet_pairs": quiet,
        "planted_pairs": hits + misses,
    }


def count_null(seeds: int, folder: Path) -> tuple[int, int]:
    """False alarms, and pairs, of captures with nothing planted."""
    with open_capture(SOURCE) as source:
        drifts = [
            drift_of(plant_drift(source, folder / "null.h5", [], FIRST_SEED + seed)) for seed in range(seeds)
        ]
    return sum(int(drift.drifts.sum()) for drift in drifts), sum(drift.drifts.size for drift in drifts)


def count_single(sequences: int, folder: Path) -> tuple[int, int]:
    """False alarms among the fast pairs of real captures of one sequence each: errors from query blocks."""
    alarms = pairs = 0
    for seed in range(sequences):
        config = CaptureConfig(
            model="demo", length=8192, out=folder / "single.h5", seed=seed, excess=False, force=True, rows=8
        )
        drift = drift_of(capture_checkpoint(config))
        fast = drift.drifts.sel(pair=slice(0, 10))
        alarms, pairs = alarms + int(fast.sum()), pairs + fast.size
    return alarms, pairs


def count_small_base(folder: Path) -> tuple[int, int]:
    """Pairs called drifting in a model all of whose pairs turn within the training length."""
    tune_model(TuneConfig(model="demo", out=folder / "base20", base=20.0), say=lambda line: None)
    config = CaptureConfig(
        model=str(folder / "base20"), length=8192, sequences=8, out=folder / "base20.h5", excess=False
    )
    drift = drift_of(capture_checkpoint(config))
    return int(drift.drifts.sum()), drift.drifts.size


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--singles", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [score_size(size, options.seeds, folder) for size in SIZES]
        for row in rows:
            print(", ".join(f"{key} {value:.4g}" for key, value in row.items()))
        for label, (alarms, pairs) in (
            ("nothing planted", count_null(options.seeds, folder)),
            ("fast pairs, one sequence", count_single(options.singles, folder)),
            ("base 20, all pairs turn in training", count_small_base(folder)),
        ):
            print(f"{label}: {alarms} of {pairs:,} pairs called drifting")
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
