"""What ``ropediag analyze`` takes on a capture of a large model: wall time and peak memory.

The capture is that of ``large_capture``: 32 layers, 32 heads, 64 pairs, 65,536 tokens.

    python benchmarks/analyze_speed.py
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from large_capture import make_capture


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
