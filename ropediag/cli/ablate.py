"""``ropediag ablate``: change what chosen rotary pairs do, and see how much of the damage that repairs."""

from pathlib import Path
from typing import Annotated

import typer

Option = typer.Option


def command(
    model: Annotated[str, Option(help="Checkpoint directory, hub id, or demo (the bundled model).")],
    length: Annotated[int, Option("--len", help="Tokens per sequence, beyond the training length.")],
    pairs: Annotated[
        str | None,
        Option(
            help="past or before the critical pair, all, flagged (with --capture), or 12-15,20 "
            "[past; all for log]."
        ),
    ] = None,
    kind: Annotated[
        str, Option(help="clip, freeze, zero, interpolate, rebase, or log (log-scaled attention).")
    ] = "clip",
    limit: Annotated[
        int | None, Option(help="clip: the longest lag [training or tuning length - 1].")
    ] = None,
    factor: Annotated[float | None, Option(help="interpolate: what angles are divided by.")] = None,
    base: Annotated[float | None, Option(help="rebase: the other base.")] = None,
    layers: Annotated[str | None, Option(help="Layers, such as 0,2,5-7 (default: all).")] = None,
    heads: Annotated[str | None, Option(help="Query heads, such as 0-3 (default: all).")] = None,
    capture: Annotated[Path | None, Option(help="Capture whose drifting pairs are meant by flagged.")] = None,
    random: Annotated[
        int | None, Option(help="Random sets of equal size to compare with [8 where there are any].")
    ] = None,
    search: Annotated[
        float | None, Option(help="Find a smallest set that repairs this share, such as 0.6.")
    ] = None,
    trials: Annotated[int, Option(help="Recall prompts at each length and depth; 0 for none.")] = 0,
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
    sequences: Annotated[int, Option(help="Token sequences; intervals are over them.")] = 8,
    device: Annotated[str, Option(help="cpu, cuda, cuda:1, ... or auto.")] = "auto",
    dtype: Annotated[
        str, Option(help="float32, bfloat16, float16, or auto (the checkpoint's, if fast here).")
    ] = "auto",
    attn: Annotated[str | None, Option(help="Attention implementation (default: the model's own).")] = None,
    seed: Annotated[int, Option(help="Seed of text and random sets.")] = 0,
    train_len: Annotated[
        int | None, Option(help="Training length, where the checkpoint does not say.")
    ] = None,
    pretrain_base: Annotated[float | None, Option(help="Base of pretraining, likewise.")] = None,
    as_json: Annotated[bool, Option("--json", help="Print all figures as JSON.")] = False,
    force: Annotated[bool, Option("--force", help="Replace an existing file.")] = False,
    allow_pickle: Annotated[
        bool, Option("--allow-pickle", help="Read pickled weights; they can run code.")
    ] = False,
) -> None:
    """Change what chosen rotary pairs do in a running model, and measure what that repairs of its loss."""
    from ropediag.config import parse_indices
    from ropediag.intervene.config import AblateConfig, parse_pairs

    config = AblateConfig(
        model=model,
        length=length,
        kind=kind,
        pairs=parse_pairs(pairs) if pairs is not None else None,
        limit=limit,
        factor=factor,
        base=base,
        layers=parse_indices(layers) if layers is not None else None,
        heads=parse_indices(heads) if heads is not None else None,
        capture=capture,
        random=random,
        search=search,
        trials=trials,
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
        force=force,
        allow_pickle=allow_pickle,
    )
    from rich.console import Console

    from ropediag.intervene.run import ablate_checkpoint

    if as_json:
        import json

        typer.echo(json.dumps(ablate_checkpoint(config).figures(), indent=2, allow_nan=False))
        return
    from ropediag.cli._ablation import print_ablation

    console = Console(highlight=False, soft_wrap=True, markup=False)  # names may hold brackets
    print_ablation(console, ablate_checkpoint(config, console.print))
    if out is not None:
        console.print(f"\nwrote {out}; look inside with: ropediag info {out}")
