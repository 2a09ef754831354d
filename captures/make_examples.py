"""Make the example captures anew: ``python captures/make_examples.py [NAME ...]``.

``README.md`` says what each shows. ``example-8192.h5`` stays as it is: tests and benchmarks take their noise
from it. Everything is read from this repository; all of them take about two minutes on two cores.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLES = {
    "example-tuned-b500-8192": "--model studies/models/demo-b500-t128-s0 --len 8192 --sequences 2",
    "example-tuned-b160000-8192": "--model studies/models/demo-b160000-t128-s0 --len 8192 --sequences 2",
    "example-tuned-b16000000-8192": "--model studies/models/demo-b16000000-t128-s0 --len 8192 --sequences 2",
    "example-kept-2048": "--model demo --len 2048 --keep-qk 1:1 --keep-qk 2:0",
    "example-65536": "--model demo --len 65536",
}
STUDY = ("studies/results/scaling-law.h5", "captures/example-study-scaling-law.h5")


def make_example(name: str) -> None:
    """Capture one example, with the ``ropediag`` beside this Python."""
    command = [Path(sys.executable).with_name("ropediag"), "capture", *EXAMPLES[name].split()]
    subprocess.run([*command, "--out", f"captures/{name}.h5", "--force"], cwd=ROOT, check=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or EXAMPLES:
        make_example(name)
    shutil.copyfile(*(ROOT / place for place in STUDY))
