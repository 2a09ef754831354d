"""What ``ropediag analyze`` takes on a capture of a large model: wall time and peak memory.

The capture is that of ``large_capture``: 32 layers, 32 heads, 64 pairs, 65,536 tokens.

    python benchmarks/analyze_speed.py --sequences 1 8 --out benchmarks/results/analyze_speed.json
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from apart import Figures
from large_capture import make_capture
from record import describe_run, write_results

CODE = "import sys; from ropediag.cli import main; sys.argv[0] = 'ropediag'; main()"


def measure(command: list[str]) -> Figures:
    """Wall seconds, and the bytes that the process held at its peak."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}.")
    return {"seconds": seconds, "bytes": 1024 * used.ru_maxrss}


def judge(sequences: int, runs: int) -> dict[str, Any]:
    """Make the capture, judge it several times, and print what that took."""
    with tempfile.TemporaryDirectory() as folder:
        path = make_capture(Path(folder) / "made-up.h5", sequences)
        size, found = path.stat().st_size, []
        print(f"{sequences} sequences, {size / 2**20:,.0f} MiB on the disk", flush=True)
        for _ in range(runs):
            found.append(measure([sys.executable, "-c", CODE, "analyze", str(path), "--json"]))
            print(
                f"ropediag analyze: {found[-1]['seconds']:.1f} s, {found[-1]['bytes'] / 2**30:.2f} GiB",
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
    about = describe_run()
    found = {sequences: judge(sequences, options.runs) for sequences in options.sequences}
    if options.out:
        write_results(options.out, about, {"sequences": found})


if __name__ == "__main__":
    main()
