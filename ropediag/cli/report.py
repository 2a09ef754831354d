"""``ropediag report``: captures, ablations and studies as one HTML file that needs no network."""

from pathlib import Path
from typing import Annotated

import typer

PANEL = "Look"
EXAMPLE = "ropediag report captures/my-demo-8192.h5 --out report.html"


def command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Captures, ablations and tables of studies, NAME.h5."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="HTML file to write (default: NAME.html, of several report.html)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write what captures, ablations and studies say as one HTML file: verdicts, figures, tables."""
    from ropediag.report import write_report

    alone = files[0].name.removesuffix(".partial").removesuffix(".h5") if len(files) == 1 else "report"
    path = write_report(files, out or Path(f"{alone}.html"), force=force)
    typer.echo(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB; it opens in any browser")
