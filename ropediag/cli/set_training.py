"""``ropediag set-training``: replace the phases of training of a finished capture."""

from pathlib import Path
from typing import Annotated

import typer

from ropediag.cli._options import Phases

PANEL = "Measure"
EXAMPLE = "ropediag set-training captures/my-demo-8192.h5 --phase len=128,base=1e4"


def command(
    file: Annotated[Path, typer.Argument(metavar="CAPTURE", help="A finished capture, NAME.h5.")],
    phase: Phases = None,
) -> None:
    """Replace the phases of training that a capture is judged by; what was measured stays as it is."""
    from ropediag.cli._next import next_steps
    from ropediag.cli._terminal import STALE
    from ropediag.errors import ConfigError
    from ropediag.store.restate import set_training

    if not phase:
        raise ConfigError("no phase was given. Give each with --phase, oldest first: --phase len=4096.")
    with set_training(file, phase) as capture:
        for at in capture.training.phases:
            typer.echo(f"{at.label or 'a phase'}: {at.length:,} tokens (from {at.source})")
        limit, reach = capture.training.predicted_limit(), capture.training.first_reach()
        typer.echo(f"predicted limit: {limit.describe()}, {limit.law}")
        typer.echo("first reach: " + ("none" if reach is None else f"{reach:,.0f} tokens, a lower bound"))
        for part in capture.stale:
            typer.echo(f"stale: {STALE[part]}")
    typer.echo(f"\nwrote {file}. Next:\n{next_steps(('analyze', file))}")
