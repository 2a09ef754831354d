"""``ropediag demo``: watch the bundled model break, and see what to do next."""

from pathlib import Path
from typing import Annotated

import typer

LENGTH = 8192


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")] = Path(
        f"captures/my-demo-{LENGTH}.h5"
    ),
) -> None:
    """Capture the bundled model at 64 times its training length."""
    from ropediag.capture import capture_checkpoint
    from ropediag.cli._terminal import TerminalReporter, print_glance
    from ropediag.config import CaptureConfig

    reporter = TerminalReporter()
    config = CaptureConfig(model="demo", length=LENGTH, sequences=2, out=out, force=True)
    try:
        path = capture_checkpoint(config, reporter)
    finally:
        reporter.close()
    print_glance(reporter.console, path)
    reporter.console.print(f"\nwrote {path}. Next:")
    for line in (
        "ropediag capture --model demo --len 65536",
        f"ropediag info {path}",
        f"python -c \"import ropediag; print(ropediag.open_capture('{path}').scores)\"",
    ):
        reporter.console.print(f"  {line}")
