"""``ropediag capture``: run a model past its training length and record what its rotary pairs do."""

from pathlib import Path
from typing import Annotated

import typer

Option = typer.Option


def command(
    model: Annotated[str, Option(help="Checkpoint directory, hub id, or demo (the bundled model).")],
    length: Annotated[int, Option("--len", help="Tokens per sequence.")],
    out: Annotated[Path | None, Option("--out", "-o", help="File to write [captures/NAME-LEN.h5].")] = None,
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
    layers: Annotated[str | None, Option(help="Layers, such as 0,2,5-7 (default: all).")] = None,
    heads: Annotated[str | None, Option(help="Query heads, such as 0-3 (default: all).")] = None,
    device: Annotated[
        str,
        Option(
            help="cpu, cuda, cuda:1, ..., auto, or map: layers over all devices, the rest on CPU and disk."
        ),
    ] = "auto",
    dtype: Annotated[
        str, Option(help="float32, bfloat16, float16, or auto (the checkpoint's, if fast here).")
    ] = "auto",
    attn: Annotated[str | None, Option(help="Attention implementation (default: the model's own).")] = None,
    chunk: Annotated[
        int | None, Option(help="Tokens that feed-forward parts take at a time (default: by device).")
    ] = None,
    rows: Annotated[int, Option(help="Sampled queries of each sequence.")] = 32,
    seed: Annotated[int, Option(help="Seed of text and sampled queries.")] = 0,
    train_len: Annotated[
        int | None, Option(help="Training length, where the checkpoint does not say.")
    ] = None,
    pretrain_base: Annotated[float | None, Option(help="Base of pretraining, likewise.")] = None,
    keep_qk: Annotated[
        list[str] | None, Option(help="LAYERS:HEADS whose q and k are kept; repeatable.")
    ] = None,
    no_tokens: Annotated[bool, Option("--no-tokens", help="Leave the tokens out of the file.")] = False,
    no_excess: Annotated[bool, Option("--no-excess", help="Leave out the windowed loss.")] = False,
    force: Annotated[bool, Option("--force", help="Replace an existing capture.")] = False,
    resume: Annotated[bool, Option("--resume", help="Go on with an interrupted capture.")] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Only say what it would need.")] = False,
    allow_pickle: Annotated[
        bool, Option("--allow-pickle", help="Read pickled weights; they can run code.")
    ] = False,
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
        pretrain_base=pretrain_base,
        keep_qk=parse_keep_qk(keep_qk or ()),
        store_tokens=not no_tokens,
        excess=not no_excess,
        force=force,
        resume=resume,
        allow_pickle=allow_pickle,
    )
    from ropediag.capture import capture_checkpoint, estimate_checkpoint
    from ropediag.cli._terminal import TerminalReporter, print_glance
    from ropediag.models.ranks import is_first, leave

    reporter = TerminalReporter(quiet=not is_first())
    if dry_run:
        estimate_checkpoint(config, reporter)
        leave()
        return
    try:
        path = capture_checkpoint(config, reporter)
    finally:
        reporter.close()
    leave()
    print_glance(reporter.console, path)
    reporter.console.print(f"\nwrote {path}; look inside with: ropediag info {path}")
