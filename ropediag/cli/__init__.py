"""The command line: one command a file in this folder, found by scanning it.

A command parses its flags, calls one public function and prints one result. Nothing heavy is
imported before a command runs, so ``ropediag --help`` answers at once.
"""

import importlib
import pkgutil
import sys

import typer

from ropediag.errors import RopediagError


def build_app() -> typer.Typer:
    """Collect the ``command`` function of every module here, named after its file."""
    app = typer.Typer(
        name="ropediag",
        help="Where, when and why a RoPE model breaks past its training length.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for module in pkgutil.iter_modules(__path__):
        if module.name.startswith("_"):
            continue
        command = importlib.import_module(f"{__name__}.{module.name}").command
        app.command(name=module.name.replace("_", "-"))(command)
    return app


def main() -> None:
    """Run the command line; what the user can mend is one line on stderr and exit status 2."""
    try:
        build_app()()
    except RopediagError as error:
        print("ropediag:", " ".join(str(error).splitlines()), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("ropediag: interrupted", file=sys.stderr)
        sys.exit(130)
