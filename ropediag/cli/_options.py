"""Options that several commands share, each written once: name, type, help and panel.

A command takes one as the annotation of a parameter, ``model: Model``, and adds its own options with
``typer.Option``. Lengths are read by ``ropediag.config.parse_length``.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

TEXT = "What is read"
MACHINE = "Machine"
TRAINING = "What training was"
FILES = "Files"


def read_length(text: Any) -> int:
    """Read a length in tokens; print on stderr what ``8k`` and the like come to.

    Raises
    ------
    typer.BadParameter
        If the text is not a whole number of tokens.
    """
    from ropediag.config import parse_length
    from ropediag.errors import ConfigError

    try:
        length = parse_length(str(text))
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    if str(text) != str(length):
        typer.echo(f"{text} is {length:,} tokens", err=True)
    return length


def read_phase_option(text: Any) -> Any:
    """Read a phase of training as it is typed.

    Raises
    ------
    typer.BadParameter
        If the text is no phase.
    """
    from ropediag.config import parse_phase
    from ropediag.errors import ConfigError

    try:
        return parse_phase(str(text))
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error


def length_option(*names: str, help: str, panel: str | None = None) -> Any:
    """Build an option that holds a number of tokens."""
    return typer.Option(*names, parser=read_length, metavar="TOKENS", help=help, rich_help_panel=panel)


Model = Annotated[str, typer.Option(help="Checkpoint folder, hub id, or demo (the bundled model).")]
Length = Annotated[int, length_option("--len", help="Tokens per sequence, such as 8192, 8k or 1e5.")]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit on the hub.", rich_help_panel=FILES)
]
Text = Annotated[
    list[Path] | None,
    typer.Option(help="Text file or folder; repeatable (default: bundled text).", rich_help_panel=TEXT),
]
Tokens = Annotated[Path | None, typer.Option(help="Token ids (.npy) instead of text.", rich_help_panel=TEXT)]
Bos = Annotated[
    bool | None,
    typer.Option(
        "--bos/--no-bos",
        help="Begin sequences and windows with BOS (default: where the model's tokenizer puts it).",
        rich_help_panel=TEXT,
    ),
]
Layers = Annotated[str | None, typer.Option(help="Layers, such as 0,2,5-7 (default: all).")]
Heads = Annotated[str | None, typer.Option(help="Query heads, such as 0-3 (default: all).")]
Device = Annotated[
    str,
    typer.Option(
        help="cpu, cuda, cuda:1, ..., auto, or map: layers over all devices, the rest on CPU and disk.",
        rich_help_panel=MACHINE,
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        help="float32, bfloat16, float16, or auto (the checkpoint's, if fast here).", rich_help_panel=MACHINE
    ),
]
Attention = Annotated[
    str | None,
    typer.Option(
        "--attn", help="Attention implementation (default: the model's own).", rich_help_panel=MACHINE
    ),
]
TrainLen = Annotated[
    int | None,
    length_option(
        "--train-len",
        help="Tokens per sequence in pretraining, where the model does not say.",
        panel=TRAINING,
    ),
]
TuneLen = Annotated[
    int | None, length_option("--tune-len", help="Tokens per sequence in tuning, likewise.", panel=TRAINING)
]
Phases = Annotated[
    list[Any] | None,
    typer.Option(
        "--phase",
        parser=read_phase_option,
        metavar="len=TOKENS[,base=...]",
        help="A phase of training, oldest first; repeatable, in place of all the model says. Also window=, "
        "rule=JSON, label=.",
        rich_help_panel=TRAINING,
    ),
]
PretrainBase = Annotated[
    float | None, typer.Option(help="RoPE base of pretraining, likewise.", rich_help_panel=TRAINING)
]
AllowPickle = Annotated[
    bool,
    typer.Option("--allow-pickle", help="Read pickled weights; they can run code.", rich_help_panel=FILES),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.", rich_help_panel=FILES)]
AsJson = Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")]
