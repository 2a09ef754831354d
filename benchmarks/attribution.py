"""What unseen angles cost each shipped model, by pair; whether the parts add up; whether interventions agree.

    python benchmarks/attribution.py

The bundled model; the same under YaRN 4 and NTK 4, which nobody trained; its versions tuned to bases of 160,000,
16,000,000 and 500; and two random models, one with grouped queries, one with latent attention, whose training length is
stated. Held-out text; lags clipped at 0.85 of each pair's trained reach. Files go to ``captures`` for the models whose
captures are examples, else to ``build/attribution``; a file that is there is read (``--force`` makes all again).

Results: ``attribution.csv``, a row a model: the difference of the loss, the sum of the parts, points, other causes, and
the share through the first four keys. ``attribution_pairs.csv``: nats by pair, next to its drift in the example capture.
``attribution_single.csv``: for the ten largest parts and ten random ones what is repaired when only this pair of this
head is clipped, and what is damaged when only it is not; intervals, 95 %, are over sequences.
``attribution_nodes.csv``: the parts by head next to the first-order effect of each head's output, by TransformerLens'
activations and gradients: the output as it is less the output with all lags clipped, times the gradient.
"""

import argparse
import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from reach_curve import MODELS, prepare

from ropediag.analysis.attribution import list_top, measure_attribution
from ropediag.analysis.drift import measure_drift
from ropediag.attribution import AttributeConfig, attribute_checkpoint, attribute_model
from ropediag.intervene import AblateConfig, Intervention, intervene
from ropediag.intervene.pair_set import PairSet
from ropediag.intervene.repair import mean_interval
from ropediag.models.inputs import read_inputs
from ropediag.models.load import load_model
from ropediag.store import open_capture
from ropediag.testing.tiny import tiny_model
from ropediag.theory.phases import PhaseSpec
from ropediag.tune.tokenizer import byte_tokenizer
from ropediag.tune.tune import tune_model
from ropediag.tune.tune_config import TuneConfig

ROOT = Path(__file__).parents[1]
CAPTURES, BUILD, RESULTS = (
    ROOT / "captures",
    ROOT / "build" / "attribution",
    Path(__file__).parent / "results",
)
SHIPPED = {  # name: model, its example capture, tokens, sequences
    "demo": ("demo", "example-8192", 512, 8),
    "b160000": (str(MODELS / "demo-b160000-t128-s0"), "example-tuned-b160000-8192", 1024, 4),
    "b16000000": (str(MODELS / "demo-b16000000-t128-s0"), "example-tuned-b16000000-8192", 3072, 2),
    "b500": (str(MODELS / "demo-b500-t128-s0"), "example-tuned-b500-8192", 512, 4),
}
RULES = {"yarn4": ("yarn", 1024, 4), "ntk4": ("ntk", 1024, 4)}
RANDOM = {"grouped queries": ("llama", {}), "latent attention": ("deepseek_v3", {"first_k_dense_replace": 4})}
TRAINED, READ = 32, 128  # tokens of the random models
ENDS = {"": "value", "_low": "low", "_high": "high"}  # of a column -> of an estimate
SINGLE, PARTS = "demo", 10  # whose parts are compared with interventions, and how many of each kind


def attribute(model: str, out: Path, length: int, sequences: int, force: bool) -> tuple[xr.Dataset, dict]:
    """Attribute a checkpoint, or read what is there; the table and the figures."""
    if force or not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        config = AttributeConfig(model, length, sequences=sequences, out=out, force=force, device="cpu")
        attribute_checkpoint(config, print)
    with open_capture(out) as file:
        return measure_attribution(file).load(), json.loads(file.attrs["figures"])


def apply_rule(rule: str) -> Path:
    """Put a scaling rule into the config of the bundled model, whose weights stay, unless that is done."""
    out = BUILD / f"demo-{rule}4"
    if not out.exists():
        tune_model(TuneConfig("demo", out=out, scaling=rule, factor=4.0, steps=0))
    return out


def list_attributions(force: bool) -> Iterator[tuple[str, xr.Dataset, dict]]:
    """Attribute every model."""
    for name, (model, capture, length, sequences) in SHIPPED.items():
        out = CAPTURES / f"{capture}-attribution.h5"
        yield name, *attribute(model, out, length, sequences, force)
    for name, (rule, length, sequences) in RULES.items():
        yield name, *attribute(str(apply_rule(rule)), BUILD / f"{name}.h5", length, sequences, force)
    generator = torch.Generator().manual_seed(0)
    for name, (kind, options) in RANDOM.items():
        model, ids = tiny_model(kind, **options), torch.randint(3, 64, (4, READ), generator=generator)
        found = attribute_model(model, ids, phases=(PhaseSpec(TRAINED, 1e4),))
        yield name, found.table, found.figures()


def describe(name: str, table: xr.Dataset, figures: Mapping) -> dict[str, object]:
    """One row of ``attribution.csv``."""
    value = {one: float(table[one]) for one in ("difference", "total", "missed", "other", "excess")}
    worst = int(table.pair[int(table.by_pair.argmax("pair"))])
    return {
        "model": name,
        "length": figures["length"],
        "sequences": table.attrs["sequences"],
        "start": table.attrs["start"],
        **{one: f"{number:.5f}" for one, number in value.items()},
        "points": figures["points"],
        "largest_change": f"{figures['largest_change']:.5f}",
        "worst_pair": worst,
        "worst_pair_nats": f"{float(table.by_pair.max()):.5f}",
        "first_keys_share": f"{float(table.first_keys.sum()) / value['total']:.4f}",
    }


def list_pairs(name: str, table: xr.Dataset, capture: str | None) -> Iterator[dict[str, object]]:
    """Rows of ``attribution_pairs.csv``; drift is the largest of a pair over all heads, if it was captured."""
    drift = None
    if capture is not None:
        with open_capture(CAPTURES / f"{capture}.h5") as opened:
            drift = measure_drift(opened).drift.max(("layer", "query_head")).load()
    for place, pair in enumerate(table.pair.values.tolist()):
        ends = {end: float(table[f"by_pair{end}"][place]) for end in ("", "_low", "_high")}
        yield {
            "model": name,
            "pair": pair,
            "nats": f"{ends['']:.5f}",
            "low": f"{ends['_low']:.5f}",
            "high": f"{ends['_high']:.5f}",
            "first_keys": f"{float(table.first_keys[place]):.5f}",
            "drift": "" if drift is None else f"{float(drift.sel(pair=pair)):.3f}",
        }


def compare_single(table: xr.Dataset, at: float) -> Iterator[dict[str, object]]:
    """Rows of ``attribution_single.csv``."""
    model, _, length, sequences = SHIPPED[SINGLE]
    subject, chosen, _ = prepare(AblateConfig(model, length, sequences=sequences, device="cpu"))
    past = slice(table.attrs["start"], table.attrs["stop"])
    reach = chosen.reach or {}
    full, clipped = subject.loss()[:, past], subject.changed_loss(chosen, multiple=at)[:, past]
    everything = list_top(table, 10**6)
    random = np.random.default_rng(0).choice(range(PARTS, len(everything)), PARTS, replace=False)
    for rank in (*range(PARTS), *sorted(random.tolist())):
        part = everything[rank]
        place, pair = (part["layer"], part["query_head"]), part["pair"]
        only = PairSet({place: (pair,)}, {place: {pair: reach[place][pair]}})
        others = {
            one: {other: value for other, value in own.items() if (one, other) != (place, pair)}
            for one, own in reach.items()
        }
        rest = PairSet({one: tuple(own) for one, own in others.items()}, others)
        repair = mean_interval((full - subject.changed_loss(only, multiple=at)[:, past]).mean(1, dtype=float))
        damage = mean_interval(
            (subject.changed_loss(rest, multiple=at)[:, past] - clipped).mean(1, dtype=float)
        )
        low, high = min(repair.low, damage.low), max(repair.high, damage.high)
        yield {
            "rank": rank,
            **{axis: part[axis] for axis in ("layer", "query_head", "pair")},
            **{end: f"{part[end]:.5f}" for end in ("nats", "low", "high")},
            **{f"repair{end}": f"{getattr(repair, key):.5f}" for end, key in ENDS.items()},
            **{f"damage{end}": f"{getattr(damage, key):.5f}" for end, key in ENDS.items()},
            "within": int(part["high"] >= low and part["low"] <= high),
        }


def read_outputs(bridge: Any, row: torch.Tensor, change: Intervention) -> dict[int, torch.Tensor]:
    """Outputs of all heads of each layer under an intervention, (1, position, head x channel)."""
    found: dict[int, torch.Tensor] = {}
    with ExitStack() as stack:
        stack.enter_context(intervene(bridge, change, length=len(row)))
        stack.enter_context(torch.no_grad())
        for layer, block in enumerate(bridge.original_model.model.layers):
            hook = block.self_attn.o_proj.register_forward_pre_hook(
                lambda module, given, layer=layer: found.update({layer: given[0].detach()})
            )
            stack.callback(hook.remove)
        bridge.original_model(row[None], use_cache=False)
    return found


def compare_nodes(table: xr.Dataset) -> Iterator[dict[str, object]]:
    """Rows of ``attribution_nodes.csv``."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.tools.analysis.attribution_patching import cache_activation_and_gradient

    name, _, length, sequences = SHIPPED[SINGLE]
    _, ids = read_inputs(AttributeConfig(name, length, sequences=sequences))
    model = load_model(name).model.requires_grad_()
    limits = dict(zip(table.pair.values.tolist(), table.lag_limit[0].values.tolist(), strict=True))
    clip = Intervention("clip", limits=dict.fromkeys(np.ndindex(*table.by_head.shape), limits))
    layers, heads = table.by_head.shape
    bridge = TransformerBridge.boot_transformers(
        name, hf_model=model, tokenizer=byte_tokenizer()
    )  # it wraps the model, whose parts stay where they are
    effects = np.zeros((layers, heads))
    for row in torch.tensor(ids):
        clipped = read_outputs(bridge, row, clip)
        rows = torch.arange(table.attrs["start"], table.attrs["stop"])

        def lose(logits: torch.Tensor, row: torch.Tensor = row, rows: torch.Tensor = rows) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(logits[0, rows - 1], row[rows])

        kept = cache_activation_and_gradient(bridge, row[None], lose)
        for layer in range(layers):
            name = f"blocks.{layer}.attn.hook_z"
            moved = kept.activations[name] - clipped[layer].view_as(kept.activations[name])
            effects[layer] += (moved * kept.gradients[name]).sum((0, 1, 3)).numpy() / len(ids)
    for layer, head in np.ndindex(layers, heads):
        yield {
            "layer": layer,
            "query_head": head,
            "part": f"{float(table.by_head[layer, head]):.5f}",
            "node": f"{effects[layer, head]:.5f}",
        }


def write(name: str, rows: list[dict[str, object]]) -> None:
    """Write rows, and print them."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(" ".join(f"{key} {value}" for key, value in row.items()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--force", action="store_true", help="make all files again")
    options = parser.parse_args()
    found = list(list_attributions(options.force))
    captures = {name: capture for name, (_, capture, _, _) in SHIPPED.items()}
    write("attribution.csv", [describe(*each) for each in found])
    pairs = [row for name, table, _ in found for row in list_pairs(name, table, captures.get(name))]
    write("attribution_pairs.csv", pairs)
    table, figures = next((table, figures) for name, table, figures in found if name == SINGLE)
    write("attribution_single.csv", list(compare_single(table, figures["at"])))
    write("attribution_nodes.csv", list(compare_nodes(table)))


if __name__ == "__main__":
    main()
