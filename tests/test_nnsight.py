"""The example in docs/nnsight.md runs, and finds in a trace what a capture of the same tokens holds."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "nnsight.md"


def test_the_example_agrees_with_a_capture(tmp_path):
    script = tmp_path / "example.py"  # nnsight reads the source of a trace, so it must lie in a file
    script.write_text(PAGE.read_text().split("```python\n")[1].split("```")[0])
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    missed, size = map(float, re.search(r"difference: (\S+) of (\S+) logits", ran.stdout).groups())
    said = re.search(r"difference it prints is (\S+) of (\S+) logits", PAGE.read_text()).groups()
    assert missed < 4 * float(said[0])
    assert size == float(said[1])
