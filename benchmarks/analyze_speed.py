"""What ``ropediag analyze`` takes on a capture of a large model: time and peak memory.

The capture is that of ``large_capture``: 32 layers, 32 heads, 64 pairs, 65,536 tokens.

    python benchmarks/analyze_speed.py --sequences 1 8 --out benchmarks/results/analyze_speed.json
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from apart import run_measured
from large_capture import make_capture
from record import describe_run, write_results

CODE = "import sys; from ropediag.cli import main; sys.argv[0] = 'ropediag'; main()"


def call_apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call in another process, since a command's peak begins at the memory of the process that starts it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def judge(sequences: int, runs: int) -> dict[str, Any]:
    """Make the capture, judge it several times, and print what that took."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made-up.h5"
        call_apart(make_capture, path, sequences)
        size, found = path.stat().st_size, []
        print(f"{sequences} sequences, {size / 2**20:,.0f} MiB on the disk", flush=True)
        for _ in range(runs):
            command = [sys.executable, "-c", CODE, "analyze", str(path), "--json"]
            found.append(run_measured(command, stdout=subprocess.DEVNULL))
            print(
                f"ropediag analyze: {found[-1]['seconds']:.1f} s, {found[-1]['processor']:.1f} s of processors, "
                f"{found[-1]['bytes'] / 2**30:.2f} GiB",
                flush=True,
            )
    return {"file bytes": size, "runs": found}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sequences", type=int, nargs="+", default=[1])
    parser.add_argument("--runs", type=int, default=3, help="of each number of sequences")
    parser.add_argument("--out", type=Path, help="JSON file for every run")
    options = parser.parse_args()
    about = call_apart(describe_run)
    found = {sequences: judge(sequences, options.runs) for sequences in options.sequences}
    if options.out:
        write_results(options.out, about, {"sequences": found})


if __name__ == "__main__":
    main()
