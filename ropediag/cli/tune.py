"""``ropediag tune``: give a model another RoPE base or scaling rule, and train it on."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ropediag.cli._options import Model, Phases, PretrainBase, TrainLen, length_option

PANEL = "Train"
EXAMPLE = "ropediag tune --model demo --base 160000 --out my-tuned"


def command(
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder to write the tuned checkpoint to.")],
    base: Annotated[float | None, typer.Option(help="New RoPE base.")] = None,
    scaling: Annotated[
        str | None, typer.Option(help="Scaling rule: linear, ntk, dynamic, yarn or llama3.")
    ] = None,
    factor: Annotated[float | None, typer.Option(help="Factor of the scaling rule.")] = None,
    length: Annotated[
        int | None, length_option("--len", help="Tuning length; the training length if not given.")
    ] = None,
    text: Annotated[
        list[Path] | None, typer.Option(help="UTF-8 file or folder to train on; may be repeated.")
    ] = None,
    bos: Annotated[
        bool | None,
        typer.Option(
            "--bos/--no-bos", help="Begin windows with BOS (default: where the model's tokenizer puts it)."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimiser steps; 0 changes RoPE and trains nothing.")] = 300,
    batch: Annotated[int, typer.Option(help="Windows a step, over all processes.")] = 16,
    accumulate: Annotated[int, typer.Option(help="Backward passes that make up a step.")] = 1,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-3,
    recall_share: Annotated[
        float | None, typer.Option(help="Share of windows with key-value lines; as in pretraining.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the windows.")] = 0,
    train_len: TrainLen = None,
    phase: Phases = None,
    pretrain_base: PretrainBase = None,
    dtype: Annotated[str, typer.Option(help="Of the weights: float32 or bfloat16.")] = "float32",
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Trade time for memory.")
    ] = False,
    lora: Annotated[int | None, typer.Option(help="Rank of low-rank updates; all weights without.")] = None,
    fsdp: Annotated[bool, typer.Option("--fsdp", help="Shard over the GPUs of torchrun.")] = False,
    save_every: Annotated[int | None, typer.Option(help="Steps between checkpoints to go on from.")] = None,
    report_to: Annotated[
        list[str] | None,
        typer.Option(help="Log to tensorboard, wandb, mlflow, trackio, ... as well; may be repeated."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that holds files.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
) -> None:
    """Change a model's RoPE, train all its weights on, and write a checkpoint that says how it was made."""
    from ropediag.tune.tune_config import TuneConfig

    config = TuneConfig(
        model=model,
        out=out,
        base=base,
        scaling=scaling,
        factor=factor,
        length=length,
        text=tuple(text or ()),
        bos=bos,
        steps=steps,
        batch=batch,
        accumulate=accumulate,
        lr=lr,
        recall_share=recall_share,
        seed=seed,
        train_len=train_len,
        phases=tuple(phase or ()),
        pretrain_base=pretrain_base,
        dtype=dtype,
        gradient_checkpointing=gradient_checkpointing,
        lora=lora,
        fsdp=fsdp,
        save_every=save_every,
        report_to=tuple(report_to or ()),
        force=force,
        resume=resume,
    )
    from ropediag.cli._next import after_training, describe_stopped
    from ropediag.models.directory import find_directory

    find_directory(model, allow_pickle=False)  # refuses a model that is not there before torch loads
    from ropediag.tune.tune import tune_model  # after the checks: loading torch takes seconds

    try:
        folder = tune_model(config, say=partial(typer.echo, err=True))
    except KeyboardInterrupt as error:
        error.add_note(describe_stopped(out, save_every))
        raise
    typer.echo(after_training(folder))
