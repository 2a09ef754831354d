"""``ropediag study``: make and measure a family of models, and fit the law to them."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

PANEL = "Train"
EXAMPLE = "ropediag study studies/scaling-law.yaml --dry-run"


def command(
    study: Annotated[Path, typer.Argument(help="The study, a YAML file.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder; by default studies/runs/NAME.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds, instead of the file's.")] = None,
    engine: Annotated[str, typer.Option(help="Where cells run: local or ray.")] = "local",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print commands, memory and time.")] = False,
    flops: Annotated[
        float | None, typer.Option(help="Operations a second of the machine meant (default: measured here).")
    ] = None,
) -> None:
    """Tune and evaluate every model of a study, then fit the extrapolation law to them.

    A study that was interrupted goes on where it stopped when the same command is given again.
    """
    from ropediag.study.config import read_study

    config = read_study(study)
    if seeds is not None:
        config = replace(config, seeds=seeds)
    folder = out or Path("studies/runs") / config.name
    if dry_run:
        from ropediag.cli._dry_run import print_dry_run

        print_dry_run(config, folder, flops)
        return
    from ropediag.study.run import run_study  # loading torch takes seconds

    try:
        result = run_study(config, folder, engine, partial(typer.echo, err=True))
    except KeyboardInterrupt as error:
        error.add_note(f"finished cells are kept in {folder}; the same command goes on from there.")
        raise
    law = result.law
    if law is None:
        typer.echo("too few models above the critical base showed a limit to fit the law")
    else:
        typer.echo(
            f"law: measured ~ predicted^{law.slope:.2f} (95 % interval {law.low:.2f} to {law.high:.2f}), "
            f"R2 {law.r_squared:.3f}, {law.count} models; measured / predicted {law.ratio:.2f} "
            f"({law.ratio_low:.2f} to {law.ratio_high:.2f})"
        )
    typer.echo(f"wrote {result.folder}/table.csv, table.h5" + (", law.html" if law else ""))
