"""``ropediag ablate``: change what chosen rotary pairs do, and see how much of the damage that repairs."""

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
    Heads,
    Layers,
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
EXAMPLE = "ropediag ablate --model demo --len 512 --pairs past"
Option = typer.Option


def command(
    model: Model,
    length: Annotated[int, length_option("--len", help="Tokens per sequence, beyond the training length.")],
    pairs: Annotated[
        str | None,
        Option(
            help="past or before the critical pair, all, flagged (with --capture), or 12-15,20 "
            "(default: past; all for log)."
        ),
    ] = None,
    kind: Annotated[
        str, Option(help="clip, fold, freeze, zero, interpolate, rebase, or log (log-scaled attention).")
    ] = "clip",
    at: Annotated[
        str | None,
        Option(
            help="clip, fold: multiples of each pair's trained reach, several for a curve, such as "
            "0.7,0.85,1,1.2 (default: 0.85 for clip, 1 for fold)."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        length_option("--limit", help="clip, fold: one longest lag for all pairs, in place of --at."),
    ] = None,
    factor: Annotated[float | None, Option(help="interpolate: what angles are divided by.")] = None,
    base: Annotated[float | None, Option(help="rebase: the other base.")] = None,
    layers: Layers = None,
    heads: Heads = None,
    capture: Annotated[Path | None, Option(help="Capture whose drifting pairs are meant by flagged.")] = None,
    random: Annotated[
        int | None,
        Option(help="Random sets of equal size to compare with (default: 8; 2 at each of several --at)."),
    ] = None,
    search: Annotated[
        float | None, Option(help="Find a smallest set that repairs this share, such as 0.6.")
    ] = None,
    knee: Annotated[
        str | None,
        Option(help="Let these pairs go, one after the other, all others held at 0.7 of their reach."),
    ] = None,
    trials: Annotated[int, Option(help="Recall prompts at each length and depth; 0 for none.")] = 0,
    out: Annotated[Path | None, Option("--out", "-o", help="HDF5 file to write (default: none).")] = None,
    revision: Revision = None,
    text: Text = None,
    bos: Bos = None,
    tokens: Tokens = None,
    sequences: Annotated[int, Option(help="Token sequences; intervals are over them.")] = 8,
    device: Device = "auto",
    dtype: Dtype = "auto",
    attn: Attention = None,
    seed: Annotated[int, Option(help="Seed of text and random sets.")] = 0,
    train_len: TrainLen = None,
    tune_len: TuneLen = None,
    phase: Phases = None,
    pretrain_base: PretrainBase = None,
    as_json: AsJson = False,
    force: Force = False,
    allow_pickle: AllowPickle = False,
) -> None:
    """Change what chosen rotary pairs do in a running model, and measure what that repairs of its loss."""
    from ropediag.config import parse_indices
    from ropediag.intervene.config import AblateConfig, parse_multiples, parse_pairs

    config = AblateConfig(
        model=model,
        length=length,
        kind=kind,
        pairs=parse_pairs(pairs) if pairs is not None else None,
        limit=limit,
        at=parse_multiples(at) if at is not None else (),
        factor=factor,
        base=base,
        layers=parse_indices(layers) if layers is not None else None,
        heads=parse_indices(heads) if heads is not None else None,
        capture=capture,
        random=random,
        search=search,
        knee=parse_indices(knee) if knee is not None else (),
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
        tune_len=tune_len,
        phases=tuple(phase or ()),
        pretrain_base=pretrain_base,
        force=force,
        allow_pickle=allow_pickle,
    )
    from ropediag.models.preflight import check_inputs

    check_inputs(config)  # before torch is imported
    from rich.console import Console

    from ropediag.cli._next import next_steps
    from ropediag.intervene.run import ablate_checkpoint

    if as_json:
        import json

        typer.echo(json.dumps(ablate_checkpoint(config).figures(), indent=2, allow_nan=False))
        return
    from ropediag.cli._ablation import print_ablation

    console = Console(highlight=False, soft_wrap=True, markup=False)  # names may hold brackets
    progress = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    print_ablation(console, ablate_checkpoint(config, progress.print))
    if out is None:
        console.print("\nnothing was written; --out FILE.h5 keeps it for ropediag report and ropediag dash")
    else:
        console.print(f"\nwrote {out}. Next:\n{next_steps(('info', out), ('report', out))}")
