"""Room for a capture, on the disk and in memory."""

import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from ropediag.capture.estimate import Estimate
from ropediag.errors import CaptureError
from ropediag.models.memory import available_memory
from ropediag.store.guard import check_writable


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
