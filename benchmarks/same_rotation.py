"""The same rotation, another history: does what training showed decide, or how the pairs turn now?

    python benchmarks/same_rotation.py

One model is pretrained from scratch at base 160,000 and 128 tokens, the other is the bundled model, pretrained at base
10,000, tuned to base 160,000 at 128 tokens. Their pairs turn alike. Each is read at 1,024 tokens of held-out text, and the
lags of its pairs past the critical one are clipped at 0.85 of its own trained reaches, and at 0.85 of the other's.
Shares are of the damage over all positions past 128 tokens; intervals, 95 %, are over sequences. The model from scratch is
made with ``ropediag pretrain`` and kept in ``build/same-rotation``.
"""

import argparse
import csv
from pathlib import Path

from ropediag.evaluate.config import EvaluateConfig
from ropediag.evaluate.run import evaluate_checkpoint
from ropediag.intervene import AblateConfig, ablate_checkpoint
from ropediag.theory.phases import PhaseSpec
from ropediag.tune.config import PretrainConfig
from ropediag.tune.pretrain import pretrain_model

ROOT = Path(__file__).parents[1]
BASE, LENGTH = 160_000.0, 128
TUNED = ROOT / "studies" / "models" / "demo-b160000-t128-s0"
SCRATCH = ROOT / "build" / "same-rotation" / "from-scratch"
HISTORIES = {
    "from scratch": (PhaseSpec(LENGTH, BASE, label="pretraining"),),
    "tuned": (PhaseSpec(LENGTH, 10_000.0, label="pretraining"), PhaseSpec(LENGTH, BASE, label="tuning")),
}
AT = 0.85  # of the trained reach
RESULTS = Path(__file__).parent / "results" / "same_rotation.csv"


def make_scratch(steps: int) -> Path:
    """Pretrain the model from scratch, unless it is there."""
    if not (SCRATCH / "ropediag.json").exists():
        pretrain_model(PretrainConfig(out=SCRATCH, base=BASE, length=LENGTH, steps=steps, force=True))
    return SCRATCH


def measure(name: str, model: Path, options: argparse.Namespace) -> dict[str, object]:
    """Measure the limit of one model, and what clips at either history's reaches repair."""
    common = {"length": options.len, "sequences": options.sequences, "device": "cpu"}
    found = evaluate_checkpoint(EvaluateConfig(str(model), trials=0, **common))
    row: dict[str, object] = {
        "model": name,
        "limit": found.measured.position,
        "limit_low": found.measured.low,
        "limit_high": found.measured.high,
        "predicted_limit": round(found.predicted or 0),
        "first_reach": round(found.first_reach or 0),
    }
    for whose, phases in HISTORIES.items():
        clip = AblateConfig(str(model), kind="clip", at=(AT,), random=0, phases=phases, **common)
        share = ablate_checkpoint(clip).curve[0].repaired
        for end in ("value", "low", "high") if share else ():
            row[f"clip at reaches {whose}, {end}"] = f"{getattr(share, end):.4f}"
    return row | {"length": options.len, "sequences": options.sequences}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1600, help="of pretraining")
    parser.add_argument("--len", type=int, default=1024)
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    models = {"from scratch": make_scratch(options.steps), "tuned": TUNED}
    rows = [measure(name, model, options) for name, model in models.items()]
    for row in rows:
        print(", ".join(f"{key} {value}" for key, value in row.items()))
    options.out.parent.mkdir(exist_ok=True)
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
