"""The shipped capture that tests of the analysis read: the bundled model at 64 times its training length."""

from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "captures" / "example-8192.h5"
