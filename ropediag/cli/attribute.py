"""``ropediag attribute``: what unseen angles cost, in nats, by layer, head, rotary pair and lag."""

from pathlib import Path
from typing import Annotated

import typer

from ropediag.cli._options import (
    FILES,
    AllowPickle,
    AsJson,
    Attention,
    Bos,
    Device,
    Dtype,
    Force,
    Heads,
    Layers,
    Length,
    Model,
    Phases,
    PretrainBase,
    Revision,
    Text,
    Tokens,
    TrainLen,
    TuneLen,
)

PANEL = "Measure"
EXAMPLE = "ropediag attribute --model demo --len 512"
UNKEPT = "nothing was written; --out FILE.h5 keeps it for ropediag report and ropediag dash"
Option = typer.Option


def command(
    model: Model,
    length: Length,
    kind: Annotated[str, Option(help="How the lags of the baseline are limited: clip or fold.")] = "clip",
    at: Annotated[
        float | None,
        Option(help="Multiple of each pair's trained reach (default: 0.85 for clip, 1 for fold)."),
    ] = None,
    layers: Layers = None,
    heads: Heads = None,
    positions: Annotated[
        str | None,
        Option(
            metavar="FIRST:STOP",
            help="Tokens whose loss is split, such as 400:512 (default: from the first reach on).",
        ),
    ] = None,
    stretches: Annotated[int, Option(help="Parts of these positions, each split for itself.")] = 1,
    tolerance: Annotated[
        float, Option(help="Share of the difference that the sum of the parts may miss.")
    ] = 0.02,
    points: Annotated[int, Option(help="Most points of the integral; 3, 5, 9, 17, 33 and 65 are used.")] = 65,
    out: Annotated[Path | None, Option("--out", "-o", help="HDF5 file to write (default: none).")] = None,
    csv: Annotated[Path | None, Option(help="Folder: write the parts as tables there.")] = None,
    resume: Annotated[
        bool, Option("--resume", help="Go on with an interrupted attribution.", rich_help_panel=FILES)
    ] = False,
    revision: Revision = None,
    text: Text = None,
    bos: Bos = None,
    tokens: Tokens = None,
    sequences: Annotated[int, Option(help="Token sequences; intervals are over them.")] = 4,
    device: Device = "auto",
    dtype: Dtype = "auto",
    attn: Attention = None,
    seed: Annotated[int, Option(help="Seed of the text.")] = 0,
    train_len: TrainLen = None,
    tune_len: TuneLen = None,
    phase: Phases = None,
    pretrain_base: PretrainBase = None,
    as_json: AsJson = False,
    force: Force = False,
    allow_pickle: AllowPickle = False,
) -> None:
    """Split the cost of angles that training never showed, in nats, over layers, heads, pairs and lags."""
    from ropediag.attribution.config import AttributeConfig, parse_positions
    from ropediag.config import parse_indices

    config = AttributeConfig(
        model=model,
        length=length,
        kind=kind,
        at=at,
        layers=parse_indices(layers) if layers is not None else None,
        heads=parse_indices(heads) if heads is not None else None,
        positions=parse_positions(positions) if positions is not None else None,
        stretches=stretches,
        tolerance=tolerance,
        points=points,
        out=out,
        resume=resume,
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

    from ropediag.cli._attribution import NOTHING, attribute_noting, run_attribution
    from ropediag.cli._next import next_steps
    from ropediag.cli._tables import make_folder, write_tables

    folder = None if csv is None else make_folder(csv)  # before the work
    console = Console(highlight=False, soft_wrap=True, markup=False)  # names may hold brackets
    progress = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    if as_json:
        import json

        found = attribute_noting(config, progress.print)
        nothing = {"attribution": None, "reason": NOTHING.format(length=length)}
        figures = nothing if found is None else found.figures()
        typer.echo(json.dumps(figures, indent=2, allow_nan=False))
    else:
        found = run_attribution(config, console, progress.print)
        if found is not None:
            kept = f"wrote {out}. Next:\n{next_steps(('info', out), ('report', out))}" if out else UNKEPT
            console.print(f"\n{kept}")
    if found is not None and folder is not None:
        written = write_tables(found.table, folder, "attribution")
        progress.print(f"wrote {len(written)} tables to {folder}")
