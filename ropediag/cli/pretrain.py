"""``ropediag pretrain``: make a small model from text."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ropediag.cli._options import length_option

PANEL = "Train"
EXAMPLE = "ropediag pretrain --out my-model --steps 200"


def command(
    out: Annotated[Path, typer.Option(help="Folder to write the checkpoint to.")],
    text: Annotated[
        list[Path] | None,
        typer.Option(help="UTF-8 file or folder to train on; may be repeated. Default: Python's library."),
    ] = None,
    length: Annotated[int, length_option("--len", "--length", help="Training length, tokens (bytes).")] = 128,
    base: Annotated[float, typer.Option(help="RoPE base.")] = 10_000.0,
    family: Annotated[str, typer.Option(help="Kind of model: llama, qwen3 or gpt_neox.")] = "llama",
    layers: Annotated[int, typer.Option(help="Layers.")] = 4,
    width: Annotated[int, typer.Option(help="Channels of the residual stream.")] = 128,
    heads: Annotated[int, typer.Option(help="Attention heads.")] = 2,
    head_dim: Annotated[int, typer.Option(help="Channels of a head.")] = 64,
    partial_rotary_factor: Annotated[
        float, typer.Option(help="Share of a head that is rotated; below 1 with gpt_neox.")
    ] = 1.0,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 8_000,
    batch: Annotated[int, typer.Option(help="Windows a step.")] = 16,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 3e-3,
    recall_share: Annotated[float, typer.Option(help="Share of windows with key-value lines.")] = 0.15,
    seed: Annotated[int, typer.Option(help="Seed of the weights and the windows.")] = 0,
    save_every: Annotated[int | None, typer.Option(help="Steps between checkpoints to go on from.")] = None,
    report_to: Annotated[
        list[str] | None,
        typer.Option(help="Log to tensorboard, wandb, mlflow, trackio, ... as well; may be repeated."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that holds files.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
) -> None:
    """Make a small model from text, with its training length and base on record.

    The defaults make the bundled model: 8,000 steps, of which a CPU core takes about five a second.
    """
    from ropediag.tune.config import PretrainConfig

    config = PretrainConfig(
        out=out,
        text=tuple(text or ()),
        length=length,
        base=base,
        family=family,
        layers=layers,
        width=width,
        heads=heads,
        head_dim=head_dim,
        partial_rotary_factor=partial_rotary_factor,
        steps=steps,
        batch=batch,
        lr=lr,
        recall_share=recall_share,
        seed=seed,
        save_every=save_every,
        report_to=tuple(report_to or ()),
        force=force,
        resume=resume,
    )
    from ropediag.cli._next import after_training, describe_stopped
    from ropediag.tune.pretrain import pretrain_model  # after the checks: loading torch takes seconds

    try:
        folder = pretrain_model(config, say=partial(typer.echo, err=True))
    except KeyboardInterrupt as error:
        error.add_note(describe_stopped(out, save_every))
        raise
    typer.echo(after_training(folder))
