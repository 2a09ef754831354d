"""The results file of a measurement: what was measured, how, when and on what."""

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "ropediag")


def describe_run(threads: int | None = None, packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """The command, the date, the machine with its load before, and the versions; all cores if no threads are given."""
    import torch

    from ropediag.models.compute_type import cpu_instructions

    cores = os.cpu_count()
    half = ", ".join(cpu_instructions(torch.bfloat16))
    return {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{threads or cores} of {cores} cores, {platform.machine()}, "
        + (torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"),
        "bfloat16": f"computed ({half})" if half else "no instructions for it on this CPU",
        "load before": round(os.getloadavg()[0], 1),
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }


def write_results(path: Path, about: dict[str, Any], found: dict[str, Any]) -> None:
    """Write what was measured, after what it was measured with, as JSON."""
    path.write_text(json.dumps(about | found, indent=1) + "\n", encoding="utf-8")
