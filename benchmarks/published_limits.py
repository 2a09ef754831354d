"""Limits of released models: the law and the first reach next to published perplexity by length.

    python benchmarks/published_limits.py

No model runs. Perplexities of benchmarks/published/proofpile.csv become nats per token by bin of positions. The
excess of a model is its loss less that of a model that lives longer on the same text, less the mean of this
difference inside the training length. The limit is the first bin from which the excess stays above 0.3 nats
to the last bin of both. All models are read with full attention; Mistral's pretraining is taken without and with
its window. The length of SOLAR is the ``max_position_embeddings`` of its config, that of a tuning under a rule
the pretraining length times the factor, which leaves the first reach as pretraining alone makes it.
"""

import argparse
import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ropediag.rope_config import read_layers
from ropediag.theory.phases import ALL, PhaseSpec, TrainingHistory

FOLDER = Path(__file__).parent
DATA = FOLDER / "published" / "proofpile.csv"
RESULTS = FOLDER / "results" / "published_limits.csv"
THRESHOLD = 0.3  # nats per token
FIELDS = ("model", "training", "predicted_limit", "first_reach", "bin_start", "bin_stop", "reference")
Curve = dict[tuple[int, int], float]


@dataclass(frozen=True)
class Case:
    """A model, what trained it, and the model its loss is compared with.

    Attributes
    ----------
    model, reference : rows of the data
    size : (width, layers, heads)
    phases : of training, oldest first
    base : as released
    rule : scaling rule as released, None for none
    """

    model: str
    reference: str
    size: tuple[int, int, int]
    phases: tuple[PhaseSpec, ...]
    base: float = 1e4
    rule: Mapping[str, object] | None = None


def _tuned(
    model: str, reference: str, size: tuple[int, int, int], lengths: tuple[int, int], rule: dict[str, object]
) -> Case:
    """State a model that was pretrained without a rule, then tuned under it; lengths are those of both."""
    first, last = lengths
    rule = {**rule, "original_max_position_embeddings": first} if rule["rope_type"] == "yarn" else rule
    return Case(model, reference, size, (PhaseSpec(first, 1e4), PhaseSpec(last, 1e4, rule)), rule=rule)


_7B, _13B, _70B, _SOLAR = (4096, 32, 32), (5120, 40, 40), (8192, 80, 64), (4096, 48, 32)
_CODE = (PhaseSpec(4096, 1e4), PhaseSpec(16_384, 1e6))
CASES = (
    Case("Llama-2-70b-hf", "Yarn-Llama-2-70b-32k", _70B, (PhaseSpec(4096, 1e4),)),
    Case("SOLAR-10.7B-v1.0", "Yarn-Solar-10b-64k", _SOLAR, (PhaseSpec(4096, 1e4),)),
    Case("Mistral-7B-v0.1", "Yarn-Mistral-7b-128k", _7B, (PhaseSpec(8192, 1e4, window=ALL),)),
    Case("Mistral-7B-v0.1", "Yarn-Mistral-7b-128k", _7B, (PhaseSpec(8192, 1e4, window=4096),)),
    _tuned("LLaMA-2-7B-32K", "Yarn-Llama-2-7b-128k", _7B, (4096, 32_768),
           {"rope_type": "linear", "factor": 8.0}),
    _tuned("Yarn-Llama-2-7b-64k", "Yarn-Llama-2-7b-128k", _7B, (4096, 65_536),
           {"rope_type": "yarn", "factor": 16.0}),
    _tuned("Yarn-Llama-2-13b-64k", "Yarn-Llama-2-13b-128k", _13B, (4096, 65_536),
           {"rope_type": "yarn", "factor": 16.0}),
    _tuned("Yarn-Mistral-7b-64k", "Yarn-Mistral-7b-128k", _7B, (8192, 65_536),
           {"rope_type": "yarn", "factor": 8.0}),
    _tuned("Yarn-Solar-10b-32k", "Yarn-Solar-10b-64k", _SOLAR, (4096, 32_768),
           {"rope_type": "yarn", "factor": 8.0}),
    Case("CodeLlama-7b-hf", "Yarn-Llama-2-7b-128k", _7B, _CODE, base=1e6),
    Case("CodeLlama-13b-hf", "Yarn-Llama-2-13b-128k", _13B, _CODE, base=1e6),
)  # fmt: skip


def read_curves(path: Path = DATA) -> dict[str, Curve]:
    """Read the loss of each model in nats per token, by bin of positions (start, stop)."""
    totals: dict[str, list[tuple[int, float]]] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            tokens = int(row["tokens"])
            totals.setdefault(row["model"], [(0, 0.0)]).append(
                (tokens, tokens * math.log(float(row["perplexity"])))
            )
    return {
        model: {
            (start, stop): (later - earlier) / (stop - start)
            for (start, earlier), (stop, later) in pairwise(sums)
        }
        for model, sums in totals.items()
    }


def find_limit(model: Curve, reference: Curve, trained: int) -> tuple[int, int] | None:
    """Find the first bin from which the excess stays above the threshold; None if it ends below it.

    Parameters
    ----------
    model, reference : nats per token by bin
    trained : tokens; the difference inside is no excess
    """
    shared = sorted(set(model) & set(reference))
    difference = {part: model[part] - reference[part] for part in shared}
    inside = [difference[part] for part in shared if part[1] <= trained]
    level = sum(inside) / len(inside) + THRESHOLD
    last = max(index for index, part in enumerate(shared) if difference[part] <= level)
    return shared[last + 1] if last + 1 < len(shared) else None


def judge(case: Case, curves: Mapping[str, Curve]) -> dict[str, object]:
    """Compute both numbers of a model and its published limit; a row of the results."""
    width, layers, heads = case.size
    config = {
        "model_type": "llama", "hidden_size": width, "num_hidden_layers": layers,
        "num_attention_heads": heads, "rope_theta": case.base, "rope_scaling": case.rule,
    }  # fmt: skip
    history = TrainingHistory(case.phases, case.base)
    training = history.build(read_layers(config))
    predicted, first = training.predicted_limit().value, training.first_reach()
    limit = find_limit(curves[case.model], curves[case.reference], history.trained)
    return {
        "model": case.model,
        "training": "; ".join(phase.describe() for phase in case.phases),
        "predicted_limit": "" if predicted is None else round(predicted),
        "first_reach": "" if first is None else round(first),
        "bin_start": "" if limit is None else limit[0],
        "bin_stop": "" if limit is None else limit[1],
        "reference": case.reference,
    }


def measure() -> list[dict[str, object]]:
    """Judge all cases."""
    curves = read_curves()
    return [judge(case, curves) for case in CASES]


def main() -> None:
    """Write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    out = parser.parse_args().out
    rows = measure()
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(*(row[field] for field in FIELDS), sep=" | ")


if __name__ == "__main__":
    main()
