"""What ``ropediag analyze`` shows on a terminal: a paragraph, the worst pairs, measured beside predicted."""

import textwrap
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ropediag.analysis.verdict import Verdict

WIDTH = 100  # columns of the paragraph


def print_verdict(console: Console, verdict: "Verdict") -> None:
    """Print a verdict as a page."""
    from ropediag.analysis.wording import group_sentences

    for kind, texts in group_sentences(verdict).items():
        for line in textwrap.wrap(f"{kind}: {' '.join(texts)}", WIDTH, subsequent_indent="  "):
            console.print(line)
    if verdict.offenders:
        console.print(
            f"\nthe {len(verdict.offenders)} pairs that drift most (drift in standard deviations at seen "
            "lags, onset as a lag in tokens)"
        )
        console.print(_offenders(verdict))
    console.print("\nmeasured against predicted")
    console.print(_comparison(verdict))
    if verdict.weak:
        console.print("\nweak evidence")
        for sentence in verdict.weak:
            console.print(f"  {sentence}")


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _offenders(verdict: "Verdict") -> Table:
    table = _table(
        "layer", "head", "pair", "period", "drift", "se", "logits", "share", "onset", "95 % interval"
    )
    for row in verdict.offenders:
        table.add_row(
            *(str(row[name]) for name in ("layer", "query_head", "pair")),
            _known(row["period"], "never"),
            f"{row['drift']:.2f}",
            "?" if row["drift_se"] is None else f"{row['drift_se']:.2f}",
            f"{row['move']:.2f}",
            f"{row['share']:.1%}",
            _known(row["onset"], "none"),
            _interval(row["onset_low"], row["onset_high"]),
        )
    return table


def _comparison(verdict: "Verdict") -> Table:
    table = _table("", "predicted", "measured", "95 % interval")
    table.columns[0].justify = "left"
    limit = _known(verdict.predicted_limit, "none")
    ends = verdict.measured_limit_low, verdict.measured_limit_high
    table.add_row(
        "limit of the loss (tokens)", limit, _known(verdict.measured_limit, "none"), _interval(*ends)
    )
    table.add_row("  first reach, a lower bound (tokens)", _known(verdict.first_reach, "none"), "", "")
    ends = verdict.onset_pair_low, verdict.onset_pair_high
    pairs = _known(verdict.critical_pair, "none"), _known(verdict.onset_pair, "none")
    table.add_row("first pair past its range, model", *pairs, _interval(*ends))
    for layer in verdict.layers:
        ends = layer["onset_pair_low"], layer["onset_pair_high"]
        pairs = _known(layer["critical_pair"], "none"), _known(layer["onset_pair"], "none")
        table.add_row(f"  layer {layer['layer']}", *pairs, _interval(*ends))
    return table


def _known(value: Any, otherwise: str) -> str:
    return otherwise if value is None else f"{value:,.0f}"


def _interval(low: Any, high: Any) -> str:
    return "" if low is None and high is None else f"{_known(low, '?')} to {_known(high, '?')}"
