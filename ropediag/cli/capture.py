"""``ropediag capture``: run a model past its training length and record what its rotary pairs do."""

from pathlib import Path
from typing import Annotated

import typer

from ropediag.cli._options import (
    FILES,
    MACHINE,
    AllowPickle,
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
    length_option,
)

PANEL = "Measure"
EXAMPLE = "ropediag capture --model demo --len 8k"
MEASURED = "What is measured"
Option = typer.Option


def command(
    model: Model,
    length: Length,
    out: Annotated[
        Path | None, Option("--out", "-o", help="File to write (default: captures/NAME-LEN.h5).")
    ] = None,
    revision: Revision = None,
    text: Text = None,
    bos: Bos = None,
    tokens: Tokens = None,
    sequences: Annotated[int, Option(help="Token sequences.")] = 1,
    layers: Layers = None,
    heads: Heads = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    attn: Attention = None,
    chunk: Annotated[
        int | None,
        length_option(
            "--chunk",
            help="Tokens that feed-forward parts take at a time (default: by device).",
            panel=MACHINE,
        ),
    ] = None,
    rows: Annotated[int, Option(help="Sampled queries of each sequence.", rich_help_panel=MEASURED)] = 32,
    seed: Annotated[int, Option(help="Seed of text and sampled queries.")] = 0,
    train_len: TrainLen = None,
    tune_len: TuneLen = None,
    phase: Phases = None,
    pretrain_base: PretrainBase = None,
    keep_qk: Annotated[
        list[str] | None,
        Option(
            metavar="LAYERS:HEADS",
            help="Heads whose queries and keys are kept; repeatable.",
            rich_help_panel=MEASURED,
        ),
    ] = None,
    no_tokens: Annotated[
        bool, Option("--no-tokens", help="Leave the tokens out of the file.", rich_help_panel=MEASURED)
    ] = False,
    no_excess: Annotated[
        bool, Option("--no-excess", help="Leave out the windowed loss.", rich_help_panel=MEASURED)
    ] = False,
    attribute: Annotated[
        int | None,
        length_option(
            "--attribute",
            help="Also split what unseen angles cost, over sequences that long: NAME-attribution.h5.",
            panel=MEASURED,
        ),
    ] = None,
    force: Force = False,
    resume: Annotated[
        bool, Option("--resume", help="Resume an interrupted capture.", rich_help_panel=FILES)
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Print what it would need, and stop.")] = False,
    allow_pickle: AllowPickle = False,
) -> None:
    """Record exact per-pair score statistics and the loss by position, far past the training length."""
    from ropediag.config import CaptureConfig, parse_indices, parse_keep_qk

    config = CaptureConfig(
        model=model,
        length=length,
        out=out,
        revision=revision,
        text=tuple(text or ()),
        bos=bos,
        tokens=tokens,
        sequences=sequences,
        layers=parse_indices(layers) if layers is not None else None,
        heads=parse_indices(heads) if heads is not None else None,
        device=device,
        dtype=dtype,
        attention=attn,
        chunk=chunk,
        rows=rows,
        seed=seed,
        train_len=train_len,
        tune_len=tune_len,
        phases=tuple(phase or ()),
        pretrain_base=pretrain_base,
        keep_qk=parse_keep_qk(keep_qk or ()),
        store_tokens=not no_tokens,
        excess=not no_excess,
        force=force,
        resume=resume,
        allow_pickle=allow_pickle,
    )
    from ropediag.models.preflight import capture_file, check_inputs

    check_inputs(config, writes=not dry_run)  # before torch is imported
    costs = None
    if attribute is not None:
        from ropediag.analysis.attribution import attribution_path
        from ropediag.attribution.config import beside_capture

        costs = beside_capture(config, attribute, attribution_path(capture_file(config)))
        check_inputs(costs, writes=not dry_run)
    from ropediag.capture import capture_checkpoint, estimate_checkpoint
    from ropediag.cli._next import next_steps
    from ropediag.cli._terminal import TerminalReporter, describe_interrupted, print_glance
    from ropediag.models.ranks import is_first, leave

    reporter = TerminalReporter(quiet=not is_first())
    if dry_run:
        estimate_checkpoint(config, reporter)
        leave()
        return
    try:
        path = capture_checkpoint(config, reporter)
    except KeyboardInterrupt as error:
        error.add_note(describe_interrupted(capture_file(config)))
        raise
    finally:
        reporter.close()
    leave()
    print_glance(reporter.console, path)
    if costs is not None:
        from ropediag.cli._attribution import run_attribution

        run_attribution(costs, reporter.console, lambda line: typer.echo(line, err=True))
    reporter.console.print(f"\nwrote {path}. Next:\n{next_steps(('analyze', path), ('dash', path))}")
