"""What ``ropediag study --dry-run`` prints: a shell script of all commands, with what each takes."""

import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ropediag.errors import ConfigError

if TYPE_CHECKING:
    from ropediag.study.config import StudyConfig


def print_dry_run(config: "StudyConfig", folder: Path, flops: float | None) -> None:
    """Print every step of every cell, with memory and time, then the whole.

    Parameters
    ----------
    config, folder : as ``run_study`` takes them
    flops : operations a second of the machine meant; None to measure this one

    Raises
    ------
    ConfigError, ModelError
        If the study could not be run as it stands; a text that is not here yet is only said.
    """
    from ropediag.cli._terminal import format_seconds
    from ropediag.models.speed import measure_speed
    from ropediag.study.estimate import estimate_study

    if flops is not None and not 0 < flops < math.inf:
        raise ConfigError(f"--flops must be a number above 0, such as 4e14: got {flops}.")
    speed, where = (flops, "as --flops says") if flops else measure_speed()
    source = where if flops else f"measured here, {where}"
    for text in dict.fromkeys([*config.tune.text, *config.evaluate.text]):
        if not text.exists():
            typer.echo(f"# {text} is not here yet")
    missing = [text for text in config.tune.text if not text.exists()]  # a tuning run refuses them
    there = tuple(text for text in config.tune.text if text not in missing)
    config = replace(config, tune=replace(config.tune, text=there))
    cell, seconds, memory, count = "", 0.0, 0, 0
    for step in estimate_study(config, folder):
        if step.cell != cell:
            cell, count = step.cell, count + 1
            typer.echo(f"# {cell}")
        spent = step.seconds(speed)
        seconds, memory = seconds + spent, max(memory, step.memory)
        texts = [f" --text {shlex.quote(str(text))}" for text in missing if step.kind == "tune"]
        on = f" on each of {step.devices} devices" if step.devices > 1 else ""
        typer.echo(
            f"{step.command}{''.join(texts)}\n"
            f"#   about {format_seconds(spent)}, {step.memory / 2**30:.2f} GiB{on}"
        )
    typer.echo(
        f"# {config.name}: {count} cells, about {format_seconds(seconds)} one after the other, at most "
        f"{memory / 2**30:.2f} GiB on a device; "
        f"at half of {speed:.1e} operations a second on a device, {source}"
    )
