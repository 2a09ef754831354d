"""Tuning over several GPUs: one process for each under torchrun, which FSDP needs."""

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from ropediag.errors import ConfigError, RopediagError
from ropediag.tune.tune_config import TuneConfig


def tune_sharded(config: TuneConfig, say: Callable[[str], None] = print) -> Path:
    """Tune a model over all GPUs of this machine that the process may use.

    Parameters
    ----------
    config : with ``fsdp``
    say : receives the lines of the run, torchrun's own among them, once it has ended well

    Raises
    ------
    ConfigError
        If there is no GPU.
    RopediagError
        If the run failed, with the last line it said.
    """
    gpus = torch.cuda.device_count()
    if not gpus:
        raise ConfigError("tune: fsdp needs at least one GPU for each cell: none is here.")
    config.out.mkdir(parents=True, exist_ok=True)
    words = [*torchrun_words(gpus), "-m", "ropediag", *shlex.split(config.command_line())[1:], "--force"]
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    said = done.stdout.splitlines()  # of several processes at once: a line may begin in another's
    if done.returncode:
        lines = [line.rpartition("ropediag: ")[2] for line in said if "ropediag: " in line]
        reason = lines[0] if lines else "\n".join(said[-20:])
        raise RopediagError(f"torchrun ended with status {done.returncode}: {reason}")
    for line in said:
        say(line)
    return config.out


def torchrun_words(processes: int) -> list[str]:
    """The module and flags that start a run of several processes on one machine."""
    return ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
