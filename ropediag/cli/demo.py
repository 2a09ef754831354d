"""``ropediag demo``: watch the bundled model break, and see what to do next."""

from pathlib import Path
from typing import Annotated

import typer

PANEL = "Measure"
EXAMPLE = "ropediag demo"
LENGTH = 8192


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")] = Path(
        f"captures/my-demo-{LENGTH}.h5"
    ),
) -> None:
    """Capture the bundled model at 64 times its training length."""
    from ropediag.capture import capture_checkpoint
    from ropediag.cli._next import next_steps
    from ropediag.cli._terminal import TerminalReporter, print_glance
    from ropediag.config import CaptureConfig

    reporter = TerminalReporter()
    config = CaptureConfig(model="demo", length=LENGTH, sequences=2, out=out, force=True)
    try:
        path = capture_checkpoint(config, reporter)
    except KeyboardInterrupt as error:
        error.add_note("the same command begins again; it takes some seconds.")
        raise
    finally:
        reporter.close()
    print_glance(reporter.console, path)
    steps = next_steps(
        ("analyze", path), ("dash", path), ("report", path), ("capture", "--model", "demo", "--len", "64k")
    )
    reporter.console.print(f"\nwrote {path}. Next:\n{steps}")
