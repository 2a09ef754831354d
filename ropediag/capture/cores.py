"""Independent pieces of work, shared out over the cores of the CPU.

The statistics are many short tensor operations, which torch's own threads speed up little; one
single-threaded worker on each core does. On a GPU the pieces simply follow one another.
"""

import ctypes
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch

Result = TypeVar("Result")


def run_on_cores(pieces: Sequence[Callable[[], Result]], device: torch.device) -> list[Result]:
    """Run the pieces, as many at a time as torch has threads, and return their results in order.

    torch's number of threads is as before afterwards, also if a piece raises.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or len(pieces) == 1:
        return [piece() for piece in pieces]
    alone = partial(torch.set_num_threads, 1)
    try:
        with ThreadPoolExecutor(min(threads, len(pieces)), initializer=alone) as pool:
            return list(pool.map(lambda piece: piece(), pieces))
    finally:
        torch.set_num_threads(threads)
        _give_back_memory()


def _give_back_memory() -> None:
    """Return freed memory to the system: the C library would keep what a worker freed for later workers."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
