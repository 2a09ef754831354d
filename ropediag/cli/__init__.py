"""The command line: one command a file in this folder, found by scanning it.

A command parses its flags, calls one public function and prints one result. Its file holds the function
``command``, the ``PANEL`` of ``--help`` that lists it (one of ``PANELS``), and an ``EXAMPLE`` for its help.
Nothing heavy is imported before a command runs, so ``ropediag --help`` answers at once.
"""

import functools
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from ropediag.errors import RopediagError

PANELS = ("Measure", "Look", "Theory", "Train")
METAVARS = {
    bool: "",
    int: "N",
    float: "NUMBER",
    str: "TEXT",
    Path: "PATH",
    list[Path]: "PATH",
    list[float]: "NUMBER",
    list[str]: "TEXT",
}
DEBUG = "--debug"


class Command(TyperCommand):
    """A command whose options are shown without Python types."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for option in self.params:
            if isinstance(option, TyperOption):
                option.metavar = option.metavar or METAVARS.get(option.type_descriptor.annotation)

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option ``--help``, a flag like any other."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.metavar = ""
        return option


def build_app() -> typer.Typer:
    """Collect the ``command`` function of every module here, named after its file."""
    app = typer.Typer(
        name="ropediag",
        help="Where, when and why a RoPE model breaks past its training length.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    modules = [
        importlib.import_module(f"{__name__}.{found.name}")
        for found in pkgutil.iter_modules(__path__)
        if not found.name.startswith("_")
    ]
    for module in sorted(modules, key=lambda module: PANELS.index(module.PANEL)):
        app.command(
            name=_name(module),
            cls=Command,
            rich_help_panel=module.PANEL,
            epilog=f"Example: {module.EXAMPLE}",
        )(_interruptible(module.command))
    return app


def main() -> None:
    """Run the command line; whatever goes wrong is one line on stderr and exit status 2."""
    # Where other programs run, torch's threads that wait for each other in a busy loop take up their cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = [word for word in sys.argv[1:] if word != DEBUG]  # also after the command, where people add it
    try:
        build_app()(words, prog_name="ropediag")
    except RopediagError as error:
        _fail(" ".join(str(error).splitlines()), error)
    except Exception as error:
        said = " ".join(str(error).split()) or "no message"
        _fail(
            f"{' '.join(words[:1])}: an error that ropediag did not foresee, {type(error).__name__}: {said}. "
            f"Check the input; the same command with {DEBUG} shows where it happened.",
            error,
        )


def _fail(message: str, error: Exception) -> None:
    if DEBUG in sys.argv:
        traceback.print_exception(error)
    print("ropediag:", message, file=sys.stderr)
    sys.exit(2)


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2].replace("_", "-")


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """Print what an interrupted command left behind, which it notes on the exception."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt as error:
            left = " ".join(getattr(error, "__notes__", []))
            print(f"ropediag: interrupted: {left}" if left else "ropediag: interrupted", file=sys.stderr)
            raise typer.Exit(130) from error

    return run


def _print_version(asked: bool) -> None:
    if asked:
        from ropediag import __version__

        typer.echo(f"ropediag {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(DEBUG, metavar="", help="Show the traceback of an error; works after a command too."),
    ] = False,
) -> None:
    pass
