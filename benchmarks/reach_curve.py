"""One curve: what limiting the lags of the slow pairs repairs, over multiples of each pair's trained reach.

    python benchmarks/reach_curve.py

The bundled model; the same under YaRN 4, which nobody trained; and its versions tuned to bases of 160,000 and
16,000,000, whose pairs each have another reach. Each reads held-out text at 4 times its predicted limit,
8,192 tokens at most. The lags of all pairs past the critical one are folded, and clipped, at multiples of the reach.
Shares are of the damage over all positions past the training length: 0 as untouched, 1 as in windows of the
training length. Intervals, 95 %, are over sequences.
"""

import argparse
import csv
import json
import math
import shutil
import tempfile
from pathlib import Path

from ropediag.assets import demo_model
from ropediag.intervene import AblateConfig, ablate_checkpoint
from ropediag.prediction import predict

MODELS = Path(__file__).parents[1] / "studies" / "models"
NAMED = {
    "demo": "demo",
    "yarn4": "demo under YaRN 4",
    "b160000": str(MODELS / "demo-b160000-t128-s0"),
    "b16000000": str(MODELS / "demo-b16000000-t128-s0"),
}
KINDS = ("fold", "clip")
AT = (0.7, 0.85, 0.95, 1.0, 1.05, 1.1, 1.2, 1.4)
LIMITS, LONGEST = 4, 8192  # tokens to read: predicted limits, and at most
RESULTS = Path(__file__).parent / "results" / "reach_curve.csv"
FIELDS = ("model", "kind", "at", "repaired", "low", "high", "sequences", "length", "smallest_reach",
          "largest_reach")  # fmt: skip


def scale_demo(folder: Path, factor: float) -> Path:
    """Copy the bundled model with YaRN in its config; its weights stay as they are."""
    copy = folder / f"demo-yarn{factor:g}"
    shutil.copytree(demo_model(), copy)
    config = json.loads((copy / "config.json").read_text())
    train_len = config["max_position_embeddings"]
    config["rope_parameters"] |= {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": train_len,
    }
    config["max_position_embeddings"] = int(factor * train_len)
    (copy / "config.json").write_text(json.dumps(config))
    return copy


def choose_length(model: str) -> int:
    """Find how many tokens a model is to read, from its predicted limit."""
    found = predict(demo_model() if model == "demo" else model, retrieval=False).predicted_limit
    return min(math.ceil(LIMITS * (found or LONGEST)), LONGEST)


def measure(name: str, model: str, kind: str, options: argparse.Namespace) -> list[dict[str, object]]:
    """Measure one curve; a row for each multiple of the reach."""
    length = options.len or choose_length(model)
    config = AblateConfig(
        model,
        length,
        kind,
        at=tuple(options.at),
        random=0,
        sequences=options.sequences,
        device=options.device,
    )
    found = ablate_checkpoint(config)
    reaches = found.sets[0].reaches()
    rows = []
    for repair in sorted(found.curve, key=lambda repair: repair.at or 0):
        share = repair.repaired
        numbers = (share.value, share.low, share.high) if share else ()
        ends = dict(zip(("repaired", "low", "high"), (f"{number:.4f}" for number in numbers), strict=False))
        rows.append(
            {
                "model": name,
                "kind": kind,
                "at": repair.at,
                **ends,
                "sequences": options.sequences,
                "length": length,
                "smallest_reach": f"{min(reaches):.1f}",
                "largest_reach": f"{max(reaches):.1f}",
            }
        )
        print(" ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(NAMED), help=f"{', '.join(NAMED)}, or folders")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--at", nargs="+", type=float, default=AT)
    parser.add_argument("--len", type=int, help=f"tokens (default: {LIMITS} x the predicted limit)")
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for given in options.models:
            model = str(scale_demo(Path(folder), 4.0)) if given == "yarn4" else NAMED.get(given, given)
            for kind in options.kinds:
                rows += measure(Path(given).name, model, kind, options)
    options.out.parent.mkdir(exist_ok=True)
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
