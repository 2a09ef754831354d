"""What ``ropediag attribute`` shows on a terminal: the sum, its largest parts, and how exact it is."""

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table

from ropediag.analysis.attribution import list_top, word_attribution

if TYPE_CHECKING:
    from ropediag.attribution.config import AttributeConfig
    from ropediag.attribution.result import Attribution

WIDTH = 100  # columns of running text
NOTHING = "no untrained angle occurs at {length:,} tokens: there is no cost to split, and nothing was written"
LEAST = 0.005  # nats: pairs that cost less are counted, not listed


def run_attribution(
    config: "AttributeConfig", console: Console, say: Callable[[str], None]
) -> "Attribution | None":
    """Run an attribution and print what it found; return that, None if there was nothing to split."""
    found = attribute_noting(config, say)
    if found is None:
        console.print(NOTHING.format(length=config.length))
    else:
        print_attribution(console, found)
    return found


def attribute_noting(config: "AttributeConfig", say: Callable[[str], None]) -> "Attribution | None":
    """Run an attribution; an interruption carries a note of what was kept."""
    from ropediag.attribution.points import describe_kept
    from ropediag.attribution.run import attribute_checkpoint

    try:
        return attribute_checkpoint(config, say)
    except KeyboardInterrupt as error:
        error.add_note(describe_kept(config.out))
        raise


def print_attribution(console: Console, found: "Attribution") -> None:
    """Print the sentences, a table of the pairs and one of the largest parts."""
    table, reaches = found.table, found.gates.reaches()
    sequences, length = found.nll_windowed.shape
    reach = " to ".join(dict.fromkeys(f"{round(end):,}" for end in (min(reaches), max(reaches))))
    console.print()
    console.print(
        f"{found.model} at {sequences} x {length:,} tokens, against {found.kind} at {found.at:g} x the "
        f"trained reach, {reach} tokens; {found.points} points",
        style="bold",
    )
    for sentence in word_attribution(table):
        console.print(textwrap.fill(sentence, WIDTH))
    pairs = _start("pair", "lag limit", "nats", "95 % interval", "through the first keys")
    small = 0
    for place, pair in enumerate(table.pair.values.tolist()):
        value = float(table.by_pair[place])
        if abs(value) < LEAST:
            small += 1
            continue
        limits = table.lag_limit[:, place].values
        limits = limits[np.isfinite(limits)]
        limit = " to ".join(dict.fromkeys(f"{end:,.0f}" for end in (limits.min(), limits.max())))
        pairs.add_row(
            str(pair),
            limit,
            f"{value:+.3f}",
            _ends(table, place),
            f"{float(table.first_keys[place]):+.3f}",
        )
    console.print()
    console.print(pairs)
    if small:
        console.print(f"{small} pairs cost less than {LEAST} nats each")
    parts = _start("layer", "head", "pair", "nats", "95 % interval")
    for part in list_top(table):
        ends = "-" if part["low"] is None else f"{part['low']:+.3f} to {part['high']:+.3f}"
        parts.add_row(
            str(part["layer"]), str(part["query_head"]), str(part["pair"]), f"{part['nats']:+.3f}", ends
        )
    console.print()
    console.print(parts)


def _start(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _ends(table: xr.Dataset, pair: int) -> str:
    low, high = (float(table[f"by_pair_{end}"][pair]) for end in ("low", "high"))
    return f"{low:+.3f} to {high:+.3f}" if np.isfinite(low) else "-"
