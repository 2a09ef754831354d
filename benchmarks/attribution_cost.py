"""What an attribution costs over plain forward passes, by length; and what one of a released model finds.

    python benchmarks/attribution_cost.py
    python benchmarks/attribution_cost.py --model FOLDER --text FOLDER --len 12032

The first times a plain forward pass and one point of the path, forwards and backwards with all gates at work, of the
bundled model, one after the other (A B A B), and writes ``attribution_cost.csv``: the least seconds of each and their
ratio. An attribution takes so many points as it says, most often 5 to 17; each costs the ratio.

The second splits the cost of a released model's unseen angles on one sequence of a text, measures time and memory as it
goes, and writes ``attribution_real.json`` and ``attribution_real_heads.csv``. Seconds are those of the whole command but
for the plain pass, the peak of memory that of the process, weights included.
"""

import argparse
import csv
import json
import resource
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ropediag.attribution import AttributeConfig, attribute_checkpoint
from ropediag.attribution.gates import GatedLayer
from ropediag.attribution.passes import GatedModel
from ropediag.intervene.intervention import Intervention
from ropediag.intervene.selection import find_targets
from ropediag.models.inputs import read_inputs
from ropediag.models.load import load_model
from ropediag.models.loss import decode
from ropediag.models.rotation import measure_rotation
from ropediag.schema import lag_edges

RESULTS = Path(__file__).parent / "results"
BUILD = Path(__file__).parents[1] / "build" / "attribution"
LENGTHS = (256, 512, 1024, 2048, 4096)
REACH, SHARE, ROUNDS = 128, 0.85, 3
REAL = "attribution_real"


def time_points() -> list[dict[str, object]]:
    """Rows of ``attribution_cost.csv``."""
    model, rows = load_model("demo").model.requires_grad_(False), []
    for length in LENGTHS:
        ids = torch.tensor(read_inputs(AttributeConfig("demo", length, sequences=1))[1])
        rotation = measure_rotation(model, np.array([length - 1]))
        limits = dict.fromkeys(range(11, 32), SHARE * REACH)
        places = {(layer, head): limits for layer in range(4) for head in range(2)}
        targets = find_targets(Intervention("clip", limits=places), rotation)
        layers = {
            layer: GatedLayer(target, "clip", length, lag_edges(length)) for layer, target in targets.items()
        }
        gated = GatedModel(model, targets, layers, length, REACH)
        plain, point = [], []
        with gated.ready():
            gated.run(ids[0], 0.5, [range(REACH, length)])  # reads the beginning
        for _ in range(ROUNDS):
            plain.append(_time(partial(decode, model, ids)))
            with gated.ready():
                point.append(_time(partial(gated.run, ids[0], 0.5, [range(REACH, length)])))
        rows.append(
            {
                "length": length,
                "plain_seconds": f"{min(plain):.4f}",
                "point_seconds": f"{min(point):.4f}",
                "ratio": f"{min(point) / min(plain):.1f}",
            }
        )
        print(rows[-1], flush=True)
    return rows


def _time(work: Any) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def attribute_real(folder: str, text: Path, length: int) -> None:
    """Attribute a released model on one sequence; files as the module says."""
    config = AttributeConfig(
        folder,
        length,
        text=(text,),
        sequences=1,
        out=BUILD / "real.h5",
        force=True,
        device="cpu",
        dtype="float32",
    )
    config.out.parent.mkdir(parents=True, exist_ok=True)
    ids = torch.tensor(read_inputs(config)[1])
    plain = _time(partial(decode, load_model(folder, device="cpu", dtype="float32").model, ids))
    begun, spent = time.perf_counter(), time.process_time()
    found = attribute_checkpoint(config, lambda line: print(line, flush=True))
    if found is None:
        raise SystemExit(f"no untrained angle occurs at {length:,} tokens")
    table = found.table
    result = {
        "model": Path(folder).name,
        "length": length,
        "start": table.attrs["start"],
        "plain_seconds": plain,
        "seconds": time.perf_counter() - begun,
        "processor_seconds": time.process_time() - spent,
        "threads": torch.get_num_threads(),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "points": found.points,
        "largest_change": found.largest_change(),
        **{name: float(table[name]) for name in ("excess", "difference", "total", "missed", "other")},
        "nll": float(table.nll),
        "nll_limited": float(table.nll_limited),
        "nll_windowed": float(table.nll_windowed),
        "first_keys_share": float(table.first_keys.sum() / table.total),
        **{f"by_{axis}": table[f"by_{axis}"].to_series().to_dict() for axis in ("pair", "layer")},
    }
    (RESULTS / f"{REAL}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    cost = table.by_head.values
    order = np.argsort(-cost, axis=None)
    rows = [
        {"layer": int(layer), "query_head": int(head), "nats": f"{cost[layer, head]:.5f}"}
        for layer, head in zip(*np.unravel_index(order, cost.shape), strict=True)
    ]
    write_rows(f"{REAL}_heads.csv", rows)


def write_rows(name: str, rows: list[dict[str, object]]) -> None:
    """Write rows as CSV."""
    with (RESULTS / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="checkpoint of a released model")
    parser.add_argument("--text", type=Path, help="text file or folder that it reads")
    parser.add_argument("--len", type=int, default=12032, dest="length")
    options = parser.parse_args()
    if options.model is None:
        write_rows("attribution_cost.csv", time_points())
    else:
        attribute_real(options.model, options.text, options.length)


if __name__ == "__main__":
    main()
