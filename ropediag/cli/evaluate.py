"""``ropediag evaluate``: what a model does past its training length, in loss and in recall."""

from pathlib import Path
from typing import Annotated

import typer

Option = typer.Option


def command(
    model: Annotated[str, Option(help="Checkpoint directory, hub id, or demo (the bundled model).")],
    length: Annotated[int, Option("--len", help="Tokens per sequence.")],
    out: Annotated[Path | None, Option("--out", "-o", help="HDF5 file to write (default: none).")] = None,
    revision: Annotated[str | None, Option(help="Branch, tag or commit on the hub.")] = None,
    text: Annotated[
        list[Path] | None, Option(help="Text file or folder; repeatable (default: bundled text).")
    ] = None,
    bos: Annotated[
        bool | None,
        Option(
            "--bos/--no-bos",
            help="Begin sequences and windows with BOS (default: where the model's tokenizer puts it).",
        ),
    ] = None,
    tokens: Annotated[Path | None, Option(help="Token ids (.npy) instead of text.")] = None,
    sequences: Annotated[int, Option(help="Token sequences.")] = 1,
    device: Annotated[str, Option(help="cpu, cuda, cuda:1, ... or auto.")] = "auto",
    dtype: Annotated[
        str, Option(help="float32, bfloat16, float16, or auto (the checkpoint's, if fast here).")
    ] = "auto",
    attn: Annotated[str | None, Option(help="Attention implementation (default: the model's own).")] = None,
    seed: Annotated[int, Option(help="Seed of text and recall prompts.")] = 0,
    train_len: Annotated[
        int | None, Option(help="Training length, where the checkpoint does not say.")
    ] = None,
    pretrain_base: Annotated[float | None, Option(help="Base of pretraining, likewise.")] = None,
    parent: Annotated[str | None, Option(help="The model it was tuned from, to compare with.")] = None,
    log_attention: Annotated[
        bool, Option("--log-attention", help="Scale logits with the logarithm of the position.")
    ] = False,
    window: Annotated[
        int | None, Option(help="Window of the sliding perplexity (default: training length).")
    ] = None,
    stride: Annotated[int | None, Option(help="Its stride (default: half the window).")] = None,
    trials: Annotated[int, Option(help="Recall prompts at each length and depth; 0 for none.")] = 8,
    tasks: Annotated[
        list[str] | None, Option(help="Benchmark of lm-evaluation-harness (an extra); repeatable.")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print all figures as JSON.")] = False,
    force: Annotated[bool, Option("--force", help="Replace an existing file.")] = False,
    allow_pickle: Annotated[
        bool, Option("--allow-pickle", help="Read pickled weights; they can run code.")
    ] = False,
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
    from rich.console import Console

    from ropediag.evaluate.run import evaluate_checkpoint

    if as_json:
        import json

        typer.echo(json.dumps(evaluate_checkpoint(config).figures(), indent=2, allow_nan=False))
        return
    from ropediag.cli._evaluation import print_evaluation

    console = Console(highlight=False, soft_wrap=True, markup=False)  # names may hold brackets
    print_evaluation(console, evaluate_checkpoint(config, console.print))
    if out is not None:
        console.print(f"\nwrote {out}; look inside with: ropediag info {out}")
