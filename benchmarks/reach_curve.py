"""One curve: what limiting the lags of the slow pairs repairs, over multiples of each pair's trained reach.

    python benchmarks/reach_curve.py

The bundled model; the same under YaRN 4, which nobody trained; and its versions tuned to bases of 160,000 and
16,000,000, whose pairs each have another reach. Each reads held-out text at 4 times its predicted limit,
8,192 tokens at most. The lags of all pairs past the critical one are folded, and clipped, at multiples of the reach.
Shares are of the damage over all positions past the training length, up to twice the predicted limit and up to the
end: 0 as untouched, 1 as in windows of the training length. Intervals, 95 %, are over sequences.

Two placebos stand next to the models whose pairs have different reaches, each at the multiple that an intervention uses
by default: the same reaches permuted among the pairs, and one lag for all pairs, the smallest reach.
"""

import argparse
import csv
import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ropediag.assets import demo_model
from ropediag.capture.plan import build_training
from ropediag.checkpoint import flags_of
from ropediag.evaluate.readers import check_reader
from ropediag.intervene import AblateConfig
from ropediag.intervene.config import AT as USUAL
from ropediag.intervene.pair_set import PairSet
from ropediag.intervene.reaches import limit_chosen
from ropediag.intervene.repair import share_repaired
from ropediag.intervene.selection import choose_pairs
from ropediag.intervene.subject import Loss, Subject
from ropediag.models.inputs import read_inputs
from ropediag.models.load import load_model
from ropediag.models.logits import read_logit_rules
from ropediag.models.rotation import measure_rotation
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
LIMITS, LONGEST = (2, 4), 8192  # predicted limits up to which shares are counted; tokens to read at most
DRAWS = 3  # permutations
RESULTS = Path(__file__).parent / "results" / "reach_curve.csv"
FIELDS = ("model", "kind", "limits", "at", "until", "repaired", "low", "high", "sequences", "length", "smallest_reach",
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


def find_limit(model: str) -> float:
    """Find the predicted limit, tokens."""
    found = predict(demo_model() if model == "demo" else model, retrieval=False)
    return found.predicted_limit or LONGEST / max(LIMITS)


def prepare(config: AblateConfig) -> tuple[Subject, PairSet, Loss]:
    """Load a model and text; give its slow pairs with their reaches, and its loss in windows, too."""
    tokenizer, ids = read_inputs(config)
    loaded = load_model(config.model, device=config.device, tokenizer=tokenizer)
    reader, ids = check_reader(loaded, ids, flags_of(config), config.bos)
    rotation = measure_rotation(loaded.model, np.array([config.length - 1]))
    shown = build_training(loaded.model, rotation, reader.training, read_logit_rules(loaded.model))
    slow = choose_pairs("past", rotation, shown.critical_pair(), None, None)
    chosen = limit_chosen(slow, rotation, shown.reach())
    subject = Subject(loaded, ids, rotation, reader.training, shown, config)
    return subject, chosen, reader.windowed(ids, reader.training.trained)


def name_limits(chosen: PairSet, at: list[float], usual: float) -> Iterator[tuple[str, float, PairSet]]:
    """Iterate over the sets of limits to measure, with the name and the multiple of each."""
    yield from (("own", multiple, chosen) for multiple in at)
    reaches = chosen.reach or {}
    if len(set(chosen.reaches())) > 1:
        pairs = sorted({pair for own in reaches.values() for pair in own})
        generator = np.random.default_rng(0)
        for number in range(1, DRAWS + 1):
            other = dict(zip(pairs, generator.permutation(pairs), strict=True))
            moved = {place: {pair: own[other[pair]] for pair in own} for place, own in reaches.items()}
            yield f"permuted {number}", usual, replace(chosen, reach=moved)
        least = min(chosen.reaches())
        common = {place: dict.fromkeys(own, least) for place, own in reaches.items()}
        yield "common", usual, replace(chosen, reach=common)


def measure(name: str, model: str, options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Measure the curves of one model; a row for each kind, set of limits, multiple and stretch of positions."""
    limit = find_limit(model)
    length = options.len or min(math.ceil(max(LIMITS) * limit), LONGEST)
    config = AblateConfig(model, length, sequences=options.sequences, device=options.device)
    subject, chosen, windowed = prepare(config)
    full, trained = subject.loss(), subject.training.trained
    for kind in options.kinds:
        under = replace(subject, config=replace(config, kind=kind))
        for limits, at, pairs in name_limits(chosen, options.at, USUAL[kind]):
            changed = under.changed_loss(pairs, multiple=at)
            for until in dict.fromkeys(min(math.ceil(times * limit), length) for times in LIMITS):
                share = share_repaired(full, windowed, changed, trained, until)
                row = {
                    "model": name,
                    "kind": kind,
                    "limits": limits,
                    "at": at,
                    "until": until,
                    "repaired": f"{share.value:.4f}",
                    "low": f"{share.low:.4f}",
                    "high": f"{share.high:.4f}",
                    "sequences": options.sequences,
                    "length": length,
                    "smallest_reach": f"{min(chosen.reaches()):.1f}",
                    "largest_reach": f"{max(chosen.reaches()):.1f}",
                }
                print(" ".join(f"{key} {value}" for key, value in row.items()), flush=True)
                yield row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(NAMED), help=f"{', '.join(NAMED)}, or folders")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--at", nargs="+", type=float, default=AT)
    parser.add_argument("--len", type=int, help="tokens to read (default: 4 predicted limits)")
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.out.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for given in options.models:
            model = str(scale_demo(Path(folder), 4.0)) if given == "yarn4" else NAMED.get(given, given)
            writer.writerows(measure(Path(given).name, model, options))
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
