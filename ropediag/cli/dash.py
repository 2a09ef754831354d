"""``ropediag dash``: the dashboard over a folder of captures, in a browser."""

from pathlib import Path
from typing import Annotated

import typer

PANEL = "Look"
EXAMPLE = "ropediag dash captures"


def command(
    where: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of captures, or one capture to open at once.")
    ] = Path("captures"),
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8050,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Others than this machine's own ask for a token.")
    ] = "127.0.0.1",
    token: Annotated[
        bool, typer.Option("--token", help="Ask for a token on 127.0.0.1 too, where others use this machine.")
    ] = False,
) -> None:
    """Show captures in a browser: where a model breaks, in which pairs, and what theory said."""
    import importlib

    from ropediag.errors import ConfigError

    capture = None
    if where.is_file() or where.name.endswith(".h5.partial"):
        where, capture = where.parent, where.name.removesuffix(".partial")
    if not where.is_dir():
        raise ConfigError(f"{where} is no folder. Name one that holds captures, or make one: ropediag demo.")
    server = importlib.import_module("ropediag.app.server")  # the folder app/, by setuptools' mapping
    safeguards = importlib.import_module("ropediag.app.safeguards")
    server.serve(where, port, capture, safeguards.Access.on(host, always=token))
