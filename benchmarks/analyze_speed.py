"""What ``ropediag analyze`` takes on a capture of a large model: wall time and peak memory.

The capture is made up: 32 layers, 32 heads, 64 pairs, 65,536 tokens, random numbers in every array that the
analysis reads.

    python benchmarks/analyze_speed.py
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ropediag import schema
from ropediag.rope import inv_freq, pair_channels
from ropediag.schema import lag_edges, position_edges
from ropediag.store import write_whole

LAYERS, HEADS, PAIRS, LENGTH, TRAINED = 32, 32, 64, 65_536, 4_096


def make_capture(path: Path, sequences: int) -> Path:
    """Write the made-up capture; with several sequences its replicates are query blocks all the same."""
    replicates = schema.REPLICATES * sequences if sequences < schema.REPLICATES else sequences
    coordinates = {
        "sequence": np.arange(sequences),
        "layer": np.arange(LAYERS),
        "query_head": np.arange(HEADS),
        "kv_head": np.arange(HEADS),
        "pair": np.arange(PAIRS),
        "side": np.arange(2),
        "lag": np.array(lag_edges(LENGTH)),
        "coarse_lag": np.array(lag_edges(LENGTH, 2)),
        "replicate": np.arange(replicates),
        "position": np.arange(LENGTH),
        "position_bin": np.array(position_edges(LENGTH, 512)),
    }
    sizes = {name: len(values) for name, values in coordinates.items()}
    random = np.random.default_rng(0)
    arrays = {}
    for variable in schema.VARIABLES:
        if variable.group in ("scores", "partial", "loss"):
            shape = [sizes[dim] for dim in variable.dims]
            values = random.standard_normal(shape, dtype=np.float32)
            arrays[variable.path] = np.abs(values) if variable.name.endswith(("std", "se")) else values
    arrays["scores/count"] = np.full((LAYERS, sizes["lag"]), 1000)
    arrays["scores/replicate_count"] = np.full((replicates, LAYERS, sizes["coarse_lag"]), 100)
    arrays["rope/inv_freq"] = np.broadcast_to(inv_freq(2 * PAIRS, 10_000.0), (LAYERS, PAIRS))
    arrays["rope/channels"] = np.broadcast_to(pair_channels("half", 2 * PAIRS), (LAYERS, PAIRS, 2))
    arrays["rope/attention_factor"] = np.ones(LAYERS)
    arrays["rope/head_dim"] = np.full(LAYERS, 2 * PAIRS)
    arrays["rope/critical_pair"] = np.full(LAYERS, 46)
    attributes = {"kind": "capture", "model": "made-up", "length": LENGTH, "layout": "half", "base": 10_000.0}
    attributes |= {"pretrain_base": 10_000.0, "train_len": TRAINED, "tune_len": TRAINED}
    return write_whole(path, coordinates, arrays, attributes)


def measure(command: list[str]) -> tuple[float, float]:
    """Wall seconds, and the largest resident memory of any child so far, GiB."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sequences", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = make_capture(Path(folder) / "made-up.h5", options.sequences)
        print(f"{path.stat().st_size / 2**20:,.0f} MiB, {options.sequences} sequences")
        code = "import sys; from ropediag.cli import main; sys.argv[0] = 'ropediag'; main()"
        for _ in range(options.runs):
            seconds, memory = measure([sys.executable, "-c", code, "analyze", str(path), "--json"])
            print(f"ropediag analyze: {seconds:.1f} s, {memory:.2f} GiB")


if __name__ == "__main__":
    main()
