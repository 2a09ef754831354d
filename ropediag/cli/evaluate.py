"""``ropediag evaluate``: what a model does past its training length, in loss and in recall."""

from pathlib import Path
from typing import Annotated

import typer

from ropediag.cli._options import (
    AllowPickle,
    AsJson,
    Attention,
    Bos,
    Device,
    Dtype,
    Force,
    Length,
    Model,
    Phases,
    PretrainBase,
    Revision,
    Text,
    Tokens,
    TrainLen,
    TuneLen,
    length_option,
)

PANEL = "Measure"
EXAMPLE = "ropediag evaluate --model demo --len 1k"
Option = typer.Option


def command(
    model: Model,
    length: Length,
    out: Annotated[Path | None, Option("--out", "-o", help="HDF5 file to write (default: none).")] = None,
    revision: Revision = None,
    text: Text = None,
    bos: Bos = None,
    tokens: Tokens = None,
    sequences: Annotated[int, Option(help="Token sequences.")] = 1,
    device: Device = "auto",
    dtype: Dtype = "auto",
    attn: Attention = None,
    seed: Annotated[int, Option(help="Seed of text and recall prompts.")] = 0,
    train_len: TrainLen = None,
    tune_len: TuneLen = None,
    phase: Phases = None,
    pretrain_base: PretrainBase = None,
    parent: Annotated[str | None, Option(help="The model it was tuned from, to compare with.")] = None,
    log_attention: Annotated[
        bool, Option("--log-attention", help="Scale logits with the logarithm of the position.")
    ] = False,
    window: Annotated[
        int | None,
        length_option("--window", help="Window of the sliding perplexity (default: training length)."),
    ] = None,
    stride: Annotated[
        int | None, length_option("--stride", help="Its stride (default: half the window).")
    ] = None,
    trials: Annotated[int, Option(help="Recall prompts at each length and depth; 0 for none.")] = 8,
    tasks: Annotated[
        list[str] | None, Option(help="Benchmark of lm-evaluation-harness (an extra); repeatable.")
    ] = None,
    as_json: AsJson = False,
    force: Force = False,
    allow_pickle: AllowPickle = False,
) -> None:
    """Measure loss, perplexity and recall past the training length, beside the predicted limit."""
    from ropediag.evaluate.config import EvaluateConfig

    config = EvaluateConfig(
        model=model,
        length=length,
        out=out,
        revision=revision,
        text=tuple(text or ()),
        bos=bos,
        tokens=tokens,
        sequences=sequences,
        device=device,
        dtype=dtype,
        attention=attn,
        seed=seed,
        train_len=train_len,
        tune_len=tune_len,
        phases=tuple(phase or ()),
        pretrain_base=pretrain_base,
        parent=parent,
        log_attention=log_attention,
        window=window,
        stride=stride,
        trials=trials,
        tasks=tuple(tasks or ()),
        force=force,
        allow_pickle=allow_pickle,
    )
    from ropediag.models.preflight import check_inputs

    check_inputs(config)  # before torch is imported
    from rich.console import Console

    from ropediag.cli._next import next_steps
    from ropediag.evaluate.run import evaluate_checkpoint

    if as_json:
        import json

        typer.echo(json.dumps(evaluate_checkpoint(config).figures(), indent=2, allow_nan=False))
        return
    from ropediag.cli._evaluation import print_evaluation

    console = Console(highlight=False, soft_wrap=True, markup=False)  # names may hold brackets
    progress = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    print_evaluation(console, evaluate_checkpoint(config, progress.print))
    if out is not None:
        console.print(f"\nwrote {out}. Next:\n{next_steps(('info', out))}")
