"""Which pairs cause the damage past the training length: clip the lag of some, and see what that repairs.

    python benchmarks/causal_proof.py

The bundled model reads held-out text at 8 times its training length, 128 tokens; clipping a pair's lag at
127 keeps it at angles it was trained on. Lag 127 itself was seen only once in a window, though, by its last
token; so all is measured with a limit of 96 as well. Sequences do not overlap. Some sets are compared with random ones of
equal size: ``other`` ones, drawn from the pairs that are not in the set, if there are enough of them, and
``any`` ones, drawn from all pairs. Shares are per cent of the damage up to 4 and 8 times the training length,
0 as untouched, 100 as in windows of the training length; over all positions past the training length, and
over the last quarter of these alone. Intervals, 95 %, are over sequences; for differences from random sets,
over sequences and sets.
"""

import argparse
import csv
import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from ropediag.intervene import Intervention, intervene
from ropediag.intervene.repair import Repair, measure_repair
from ropediag.models.load import load_model
from ropediag.models.loss import decode, nll_by_position, nll_windowed
from ropediag.text import read_token_sequences

TRAIN_LEN, PAIRS, CRITICAL = 128, 32, 11
SETS = {
    "past the critical pair (11-31)": range(CRITICAL, PAIRS),
    "before it (0-10)": range(CRITICAL),
    "all": range(PAIRS),
    "12-15": range(12, 16),
    "13-15": range(13, 16),
    "12-31": range(12, PAIRS),
    "16-31": range(16, PAIRS),
}
LIMITS = (TRAIN_LEN - 1, 3 * TRAIN_LEN // 4)  # the longest lag of training, and one that was seen often there
COMPARED = ("past the critical pair (11-31)", "before it (0-10)", "12-15")  # with random sets
RESULTS = Path(__file__).parent / "results" / "causal_proof.csv"


class Losses:
    """The bundled model's loss by position, untouched, in windows and with some pairs clipped; each set once."""

    def __init__(self, ids: np.ndarray) -> None:
        self.model = load_model("demo", device="cpu").model
        self.ids = torch.from_numpy(ids)
        self.full = self.measure()
        self.windowed = np.stack([nll_windowed(self.model, row, TRAIN_LEN) for row in self.ids])
        self._clipped: dict[tuple[int, ...], np.ndarray] = {}  # limit, then pairs

    def measure(self) -> np.ndarray:
        parts = torch.split(self.ids, 8)
        return np.concatenate([nll_by_position(self.model, ids, decode(self.model, ids)) for ids in parts])

    def clipped(self, pairs: Iterable[int], limit: int) -> np.ndarray:
        chosen = tuple(sorted(int(pair) for pair in pairs))
        if (limit, *chosen) not in self._clipped:
            change = Intervention("clip", pairs=chosen, limit=limit)
            with intervene(self.model, change, length=self.ids.shape[1]):
                self._clipped[limit, *chosen] = self.measure()
        return self._clipped[limit, *chosen]


def draw_controls(chosen: range, count: int, seed: int) -> dict[str, list[np.ndarray]]:
    """Random sets as large as the chosen one, none of them the same set."""
    generator = np.random.default_rng(seed)
    pools = {"any": np.arange(PAIRS), "other": np.setdiff1d(np.arange(PAIRS), chosen)}
    controls: dict[str, list[np.ndarray]] = {}
    for name, pool in pools.items():
        controls[name] = []
        while len(chosen) < PAIRS and len(pool) >= len(chosen) and len(controls[name]) < count:
            drawn = generator.choice(pool, len(chosen), replace=False)
            if set(drawn) != set(chosen):
                controls[name].append(drawn)
    return controls


def describe(repair: Repair, name: str, limit: int, control: str, overlap: float) -> dict[str, object]:
    """One row of the table."""
    row: dict[str, object] = {
        "pairs": name,
        "limit": limit,
        "multiple": repair.multiple,
        "nats of damage": f"{repair.damage.value:.3f}",
    }
    ends = {"": repair.repaired, "last quarter ": repair.repaired_tail, "above random ": repair.above_random}
    for label, share in ends.items():
        for end in ("value", "low", "high"):
            row[f"{label}{end}"] = f"{100 * getattr(share, end):.1f}" if share else ""
    random = 100 * np.array(repair.random)
    row |= {
        "random sets": control,
        "sets": len(random),
        "overlap": f"{overlap:.2f}" if len(random) else "",
        "random mean": f"{random.mean():.1f}" if len(random) else "",
        "random std": f"{random.std(ddof=1):.1f}" if len(random) > 1 else "",
        "random max": f"{random.max():.1f}" if len(random) else "",
    }
    return row


def show(row: dict[str, object]) -> None:
    shown = f"{row['pairs']:32} limit {row['limit']:3} {row['multiple']:g} x  {row['value']:>6} ({row['low']} to {row['high']})"
    shown += f"  last quarter {row['last quarter value']} ({row['last quarter low']} to {row['last quarter high']})"
    if row["sets"]:
        shown += f"  {row['sets']} {row['random sets']} sets, overlap {row['overlap']}: {row['random mean']}"
        shown += f", above them {row['above random value']} ({row['above random low']} to {row['above random high']})"
    print(shown, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0, help="of the text and of the random sets")
    parser.add_argument("--sets", type=int, default=16, help="random sets of each kind")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    tokenizer = load_model("demo", device="cpu").tokenizer
    losses = Losses(read_token_sequences(None, tokenizer, 8 * TRAIN_LEN, options.sequences, options.seed))
    print(f"{len(losses.ids)} sequences of {8 * TRAIN_LEN} tokens")
    rows = []
    for limit, (name, chosen) in itertools.product(LIMITS, SETS.items()):
        controls = draw_controls(chosen, options.sets, options.seed) if name in COMPARED else {"": []}
        for control, drawn in controls.items():
            if control and not drawn:
                continue
            random = [losses.clipped(pairs, limit) for pairs in drawn]
            overlap = float(np.mean([np.isin(pairs, chosen).mean() for pairs in drawn])) if drawn else 0.0
            own = losses.clipped(chosen, limit)
            for multiple in (4.0, 8.0):
                found = measure_repair(losses.full, losses.windowed, own, random, TRAIN_LEN, multiple)
                rows.append(describe(found, name, limit, control, overlap))
                show(rows[-1])
    options.out.parent.mkdir(exist_ok=True)
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
