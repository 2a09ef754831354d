"""Make the example captures anew: ``python captures/make_examples.py [NAME ...]``.

``README.md`` says what each shows; without a name the ablations follow, by ``make_ablations.sh``. Everything
is read from this repository. Tests and documents hold numbers of ``example-8192.h5``: another torch gives
other last digits.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TUNED = "--model studies/models/demo-{}-t128-s0 --len 8192 --sequences {} --rows 16"
SEQUENCES = {"b500": 1, "b160000": 2, "b16000000": 1}
EXAMPLES = {
    "example-8192": "--model demo --len 8192 --sequences 8",
    **{f"example-tuned-{base}-8192": TUNED.format(base, count) for base, count in SEQUENCES.items()},
    "example-kept-2048": "--model demo --len 2048 --keep-qk 1:1 --keep-qk 2:0",
    "example-65536": "--model demo --len 65536 --rows 16",
}
STUDY = ("studies/results/scaling-law.h5", "captures/example-study-scaling-law.h5")


def make_example(name: str) -> None:
    """Capture one example, with the ``ropediag`` beside this Python."""
    command = [Path(sys.executable).with_name("ropediag"), "capture", *EXAMPLES[name].split()]
    subprocess.run([*command, "--out", f"captures/{name}.h5", "--force"], cwd=ROOT, check=True)


def make_ablations() -> None:
    """Make the example ablations, with the ``ropediag`` beside this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run([ROOT / "captures" / "make_ablations.sh"], env=os.environ | {"PATH": path}, check=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or EXAMPLES:
        make_example(name)
    if not sys.argv[1:]:
        make_ablations()
    shutil.copyfile(*(ROOT / place for place in STUDY))
