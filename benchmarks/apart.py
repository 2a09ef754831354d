"""Measuring in a separate process: wall time, processor time, peak memory over what was loaded before."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Figures = dict[str, float]


def run_apart(script: str, arguments: Sequence[str]) -> Any:
    """Run a script anew; what it prints last is its figures as JSON.

    Raises
    ------
    RuntimeError
        With the end of what it wrote, if it fails.
    """
    finished = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
    if finished.returncode:
        raise RuntimeError(f"{script} {' '.join(arguments)}: {finished.stderr[-2000:]}")
    return json.loads(finished.stdout.splitlines()[-1])


def run_measured(command: Sequence[str], allowed: Sequence[int] = (0,), **options: Any) -> Figures:
    """Run another program: its seconds, those of the processors, and the bytes that it held at its peak.

    Raises
    ------
    RuntimeError
        If it ends with a status that is not allowed.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(command, **options)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in allowed:
        raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}.")
    return {"seconds": seconds, "processor": used.ru_utime + used.ru_stime, "bytes": 1024 * used.ru_maxrss}


def measure(work: Callable[[], Any], device: Any) -> Figures:
    """Run ``work`` once: seconds, seconds of the processors, and bytes at the peak over those in use before."""
    before, wall, processor = resident(device), time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize()
    seconds = {"seconds": time.perf_counter() - wall, "processor": time.process_time() - processor}
    return {**seconds, "bytes": peak(device) - before}


def resident(device: Any) -> int:
    """Bytes in use now; the peak counter starts over."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def peak(device: Any) -> int:
    """Most bytes in use since ``resident``."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    return status("VmHWM")


def status(field: str) -> int:
    """One field of this process's status, in bytes."""
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(field))
    return int(line.split()[1]) * 1024
