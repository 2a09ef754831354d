"""What drift can say: ranges learned below any cut are left just past it, and where the onset stays all the same.

    python benchmarks/placebo.py

Reads 16 sequences of held-out text with the bundled model, with the same under YaRN 4, which nobody trained, and with its
versions tuned to bases of 160,000 and 16,000,000. The range of each pair short of a full turn is learned below a cut, a
multiple of its trained reach, and everything past the cut counts as unseen. For each cut:

- ``left``: share of the first five slow pairs of each head that leave the range by over 0.25 in-range standard deviations
  before 1.4 times the cut;
- ``onset``: median onset over all slow pairs, weighted by the excursion in logits, over the measured limit of the loss.

At the cut of 1 also ``strays``: share of (layer, head, pair) whose mean over 8 sequences exceeds, at a lag it has seen, the
range learned from the other 8 by 0.5 in-range standard deviations; ``strays 4`` the same with 4 and 4, ``strays files``
with ranges from 8 sequences of one file and means from 8 of another, which read other text.
"""

import argparse
import csv
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from reach_curve import NAMED, scale_demo

from ropediag import open_capture
from ropediag.analysis.drift import LEAST, find_onset
from ropediag.analysis.excursions import find_excursions, read_profiles, seen_scale
from ropediag.analysis.glance import glance
from ropediag.analysis.range_check import STRAYS, find_strays, split_lags
from ropediag.capture import capture_checkpoint
from ropediag.config import CaptureConfig
from ropediag.store import Capture
from ropediag.theory.training import Training

CUTS = (0.25, 0.35, 0.45, 0.6, 0.7, 0.85, 1.0)
LENGTHS = {"demo": 2048, "yarn4": 4096, "b160000": 8192, "b16000000": 16_384}
JUST_PAST = 1.4  # cuts
FIRST = 5  # slow pairs
RESULTS = Path(__file__).parent / "results" / "placebo.csv"


def cut_training(training: Training, cut: float) -> Training:
    """The training whose sequences were shorter, so that every reach is ``cut`` times what it is."""
    phases = [replace(phase, length=round(cut * phase.length)) for phase in training.phases]
    return replace(training, phases=tuple(phases))


def measure_cut(capture: Capture, cut: float, limit: float | None) -> dict[str, str]:
    """Judge one capture as if training had shown its pairs less."""
    length, whole = int(capture.attrs["length"]), capture.training
    shorter, rows, onsets, weights, left = cut_training(whole, cut), range(capture.sizes["layer"]), [], [], []
    for row in rows:
        layer = int(capture.values("layer")[row])
        profiles = read_profiles(capture, layer)
        reach = shorter.reach()[row]
        seen = profiles.stop <= reach[:, None]
        arrays = (
            capture.values(f"scores/{name}", layer=layer).astype(float) for name in ("mean", "std", "count")
        )
        cutting = replace(
            profiles,
            seen=seen,
            unseen=shorter.split_bins(profiles.lag, profiles.stop)[1][row],
            scale=seen_scale(*arrays, seen),
        )
        found = find_excursions(cutting, length)
        slow = np.flatnonzero(np.isfinite(whole.reach()[row]))
        value = np.where(np.isfinite(found.value), found.value, -np.inf)
        near = (found.lag >= reach[:, None]) & (found.stop <= JUST_PAST * reach[:, None])
        most = np.where(near, value, -np.inf).max(-1)[:, slow[:FIRST]]
        left.append(most[np.isfinite(most)] > LEAST)
        onset = find_onset(value > LEAST, found, reach)[:, slow]
        weight = (value.max(-1) * cutting.scale)[:, slow]
        known = np.isfinite(onset)
        onsets.append(onset[known])
        weights.append(weight[known])
    onset, weight = np.concatenate(onsets), np.concatenate(weights)
    order = np.argsort(onset)
    middle = onset[order][np.searchsorted(weight[order].cumsum(), weight.sum() / 2)] if len(onset) else np.nan
    shares = np.concatenate(left)
    return {
        "cut": f"{cut:g}",
        "left": f"{shares.mean():.3f}" if len(shares) else "",
        "pairs": str(len(shares)),
        "onset": f"{middle / limit:.3f}" if limit else "",
    }


def count_strays(capture: Capture, sequences: int, other: Capture | None = None) -> float:
    """Share of the pairs that leave their range at a seen lag.

    Parameters
    ----------
    capture : from whose sequences ranges are learned, and by whose every second one they are tested
    sequences : so many in all
    other : the file whose sequences test them instead
    """
    strays = []
    for row, layer in enumerate(capture.values("layer").tolist()):
        profiles = read_profiles(capture, layer)
        learned, seen = split_lags(capture, row, profiles)
        low, high = profiles.low[:sequences], profiles.high[:sequences]
        if other is not None:
            tests, half = read_profiles(other, layer), sequences // 2
            low, high = (
                np.stack([own[:half], new[:half]], 1).reshape(sequences, *own.shape[1:])
                for own, new in ((low, tests.low), (high, tests.high))
            )
        stray = find_strays(low, high, learned, seen, profiles.scale)
        strays.append(stray[np.isfinite(stray)] > STRAYS)
    return float(np.concatenate(strays).mean())


def measure(name: str, model: str, folder: Path, options: argparse.Namespace) -> list[dict[str, str]]:
    """Capture one model and judge it at every cut."""
    path = folder / f"{name}.h5"
    capture_checkpoint(
        CaptureConfig(model, LENGTHS[name], path, sequences=options.sequences, device="cpu", rows=4)
    )
    other = folder / f"{name}-other.h5"
    half = options.sequences // 2
    capture_checkpoint(
        CaptureConfig(model, LENGTHS[name], other, sequences=half, seed=1, device="cpu", rows=4)
    )
    with open_capture(path) as capture, open_capture(other) as second:
        measured = glance(capture).measured
        limit = measured.position if measured else None
        rows = [{"model": name, "limit": str(limit), **measure_cut(capture, cut, limit)} for cut in CUTS]
        rows[-1] |= {
            "strays": f"{count_strays(capture, options.sequences):.4f}",
            "strays 4": f"{count_strays(capture, 8):.4f}",
            "strays files": f"{count_strays(capture, options.sequences, second):.4f}",
        }
    for row in rows:
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=LENGTHS, default=list(LENGTHS))
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for given in options.models:
            model = str(scale_demo(folder, 4.0)) if given == "yarn4" else NAMED[given]
            rows += measure(given, model, folder, options)
    options.out.parent.mkdir(exist_ok=True)
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(
            file, ["model", "limit", "cut", "left", "pairs", "onset", "strays", "strays 4", "strays files"]
        )
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
