"""Make the example captures anew: ``python captures/make_examples.py [NAME ...]``.

``README.md`` says what each shows, and its flags; without a name the ablations follow, by
``make_ablations.sh``. Everything is read from this repository. Tests and documents hold numbers of
``example-8192.h5``: another torch gives other last digits.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ropediag.format_doc import EXAMPLES

ROOT = Path(__file__).parents[1]
STUDY = ("studies/results/scaling-law.h5", "captures/example-study-scaling-law.h5")


def make_example(name: str) -> None:
    """Capture one example, with the ``ropediag`` beside this Python."""
    flags, *_ = EXAMPLES[name]
    command = [Path(sys.executable).with_name("ropediag"), "capture", *flags.split()]
    subprocess.run([*command, "--out", f"captures/{name}", "--force"], cwd=ROOT, check=True)


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
