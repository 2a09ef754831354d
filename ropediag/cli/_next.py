"""Commands to run next, quoted for a shell."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from ropediag.checkpoint import read_checkpoint


def next_steps(*commands: Sequence[str | Path]) -> str:
    """Write ropediag commands, one a line, quoted so that a shell runs them as they stand."""
    return "\n".join(f"  {shlex.join(['ropediag', *map(str, words)])}" for words in commands)


def after_training(folder: Path) -> str:
    """Write the command that captures a checkpoint ropediag made, at 8 times the length it was trained at."""
    metadata = read_checkpoint(folder)[1]
    length = 8 * max(metadata["train_len"], metadata["tune_len"])
    return f"wrote {folder}. Next:\n{next_steps(('capture', '--model', folder, '--len', str(length)))}"


def describe_stopped(out: Path, save_every: int | None) -> str:
    """Write what an interrupted training run left in its folder, and how to resume it."""
    from ropediag.tune.trainer import UNFINISHED, newest_checkpoint

    newest = newest_checkpoint(out / UNFINISHED)
    if newest is not None:
        return f"{newest} is kept; the same command with --resume goes on from there."
    if save_every:
        return f"nothing was saved before step {save_every}."
    return "nothing was saved. With --save-every STEPS an interrupted run can be resumed."
