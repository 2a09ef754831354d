"""``ropediag stretch``: where a model would break with larger bases, from a capture of it untuned."""

from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ropediag.analysis.stretch import Stretch

from ropediag.cli._options import AsJson, length_option

PANEL = "Theory"
EXAMPLE = "ropediag stretch captures/my-demo-8192.h5 --base 1e5"


def command(
    path: Annotated[Path, typer.Argument(metavar="CAPTURE", help="Capture of the untuned model, NAME.h5.")],
    base: Annotated[list[float] | None, typer.Option(help="Base of a tuning; repeatable.")] = None,
    target_len: Annotated[
        list[int] | None,
        length_option("--target-len", help="Length to reach, with the least base; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict where a model breaks after tuning with larger bases, from a capture of it untuned."""
    import json
    from dataclasses import asdict

    from ropediag.analysis.stretch import measure_stretch
    from ropediag.errors import ConfigError
    from ropediag.store import open_capture

    if not base and not target_len:
        raise ConfigError("nothing was asked for. Give --base, --target-len or both.")
    with open_capture(path) as capture:
        found = measure_stretch(capture)
    rows = [_row(found, each) for each in base or ()]
    rows += [_row(found, found.base_for(float(length))) for length in target_len or ()]
    if as_json:
        typer.echo(json.dumps(asdict(found) | {"has_cliff": found.has_cliff, "bases": rows}, indent=2))
    else:
        _print_table(found, rows)


def _row(found: "Stretch", base: float) -> dict[str, Any]:
    from ropediag.limits import extrapolation_limit, fitted_limit

    numbers = (found.rotary_dim, base, found.base, found.train_len)
    return {
        "base": base,
        "stretched_limit": found.limit_at(base),
        "limit": extrapolation_limit(*numbers),
        "fitted_limit": fitted_limit(*numbers),
    }


def _write_base(base: float) -> str:
    return f"{base:,.0f}" if base < 1e15 else f"{base:.2g}"


def _print_table(found: "Stretch", rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from ropediag.analysis.drift import LEAST
    from ropediag.analysis.stretch import FARTHEST

    table = Table("base", "as it stretches", "the paper's law", "fitted law", box=None)
    for row in rows:
        limits = (row[name] for name in ("stretched_limit", "limit", "fitted_limit"))
        table.add_row(
            _write_base(row["base"]), *("no bound" if each is None else f"{each:,.0f}" for each in limits)
        )
    console = Console(highlight=False, markup=False)
    onset = ceil(found.onset)
    console.print(
        f"{found.model}, base {found.base:,.10g}, trained at {found.train_len:,} tokens: breaks at "
        f"{found.limit:,.0f}\nmean drift passes {LEAST:g} between pairs {onset - 1} and {onset} of "
        f"{found.rotary_dim // 2}, at {found.onset:.1f}; {onset} is the onset pair of ropediag analyze",
        soft_wrap=True,
    )
    console.print(table)
    far = [row["base"] for row in rows if row["base"] > FARTHEST * found.base]
    if far:
        console.print(
            f"warning: base {far[0]:.2g} is {far[0] / found.base:.2g} times that of the model; these laws "
            f"were measured up to {FARTHEST:,} times.",
            soft_wrap=True,
        )
    if not found.has_cliff:
        console.print(
            f"note: the loss rises slowly, to its threshold at {found.limit / found.train_len:.1f} times "
            "the training length; no law held for such models",
            soft_wrap=True,
        )
    console.print("limits in tokens, tuned at the training length")
