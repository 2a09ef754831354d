"""``ropediag analyze``: what a capture says of its model, for a person, a program or a pipeline."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ropediag.store import Capture

PANEL = "Look"
EXAMPLE = "ropediag analyze captures/my-demo-8192.h5"


class Failure(StrEnum):
    """What ``--fail-on`` can name."""

    drift = "drift"
    loss = "loss"


FAILED = 3  # exit status of a verdict that was named with --fail-on; 2 is an error


def command(
    capture: Annotated[Path, typer.Argument(help="A capture: NAME.h5, or NAME.h5.partial while it runs.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Folder: write every diagnostic as tables there.")] = None,
    fail_on: Annotated[
        Failure | None, typer.Option(help=f"Exit with {FAILED} if a pair drifts, or if the loss breaks.")
    ] = None,
) -> None:
    """Judge a capture: which pairs drift, from which lag on, and where the loss breaks."""
    import json

    from rich.console import Console

    from ropediag.analysis.kind import check_capture
    from ropediag.analysis.verdict import judge_capture
    from ropediag.cli._verdict import print_verdict
    from ropediag.errors import CaptureError
    from ropediag.store import open_capture

    with open_capture(capture) as opened:
        check_capture(opened)
        verdict = judge_capture(opened)
        written, left_out = ([], []) if csv is None else _write_diagnostics(opened, csv)
    if as_json:
        typer.echo(json.dumps(verdict.figures(), indent=2, allow_nan=False))
    else:
        console = Console(highlight=False, soft_wrap=True, markup=False)  # names may hold brackets
        print_verdict(console, verdict)
        if csv is not None:
            console.print(f"\nwrote {len(written)} tables to {csv}")
    for reason in left_out:
        typer.echo(f"left out {reason}", err=True)
    broken = {Failure.drift: verdict.drifts, Failure.loss: verdict.loss_breaks}
    if fail_on is not None and broken[fail_on] is None:
        raise CaptureError(f"--fail-on {fail_on}: {capture} cannot say. {' '.join(verdict.weak)}")
    if fail_on is not None and broken[fail_on]:
        raise typer.Exit(FAILED)


def _write_diagnostics(capture: "Capture", csv: Path) -> tuple[list[Path], list[str]]:
    """Write every diagnostic as tables; also name those that need what the capture does not hold."""
    from ropediag.analysis.diagnostic import list_diagnostics
    from ropediag.cli._tables import make_folder, write_tables
    from ropediag.errors import RopediagError

    folder, written, left_out = make_folder(csv), [], []
    for name, diagnostic in list_diagnostics().items():
        try:
            written += write_tables(diagnostic(capture).load(), folder, name)
        except RopediagError as error:
            left_out.append(f"{name}: {error}")
    return written, left_out
