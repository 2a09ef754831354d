"""What must hold outside the model: inputs that exist, an output that can, room on disk and in memory."""

import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from ropediag.capture.estimate import Estimate
from ropediag.config import CaptureConfig
from ropediag.errors import CaptureError
from ropediag.models.memory import available_memory
from ropediag.store.folder import Folder
from ropediag.store.guard import check_writable
from ropediag.text import check_paths


def check_places(path: Path, config: CaptureConfig) -> None:
    """Refuse an input that is not there and an output that cannot be, before a model is loaded for them.

    Raises
    ------
    ConfigError, CaptureError
    """
    check_paths([*config.text, *([config.tokens] if config.tokens else [])])
    for taken in (path, Folder.beside(path).path):
        if taken.exists() and not (config.force or config.resume):
            raise CaptureError(
                f"{taken} exists. Choose another name with --out, replace it with --force, or go on with an "
                "interrupted capture with --resume."
            )
    check_writable(path)


def check_room(path: Path, estimate: Estimate, device: torch.device, advice: Callable[[int], str]) -> None:
    """Refuse a capture that the disk or the memory cannot hold.

    Parameters
    ----------
    path : the file to be
    estimate : what it needs
    device : whose memory counts
    advice : what would fit into so many bytes

    Raises
    ------
    CaptureError
    """
    folder = check_writable(path)
    free, wanted = shutil.disk_usage(folder).free, 3 * estimate.disk  # units of the layers, then the file
    if wanted > free:
        raise CaptureError(
            f"too little room in {folder}: the capture needs about {wanted / 2**20:,.0f} MiB while it runs, "
            f"{free / 2**20:,.0f} MiB are free."
        )
    memory = available_memory(device)
    if estimate.memory > memory:
        raise CaptureError(
            f"the capture needs about {estimate.memory / 2**30:.1f} GiB of memory beside the model, "
            f"{memory / 2**30:.1f} GiB are free: {advice(memory)}."
        )
