"""What ``ropediag ablate`` shows on a terminal: which pairs were changed, and what share that repairs."""

import math
import textwrap
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from ropediag.analysis.runs import word_runs

if TYPE_CHECKING:
    from ropediag.intervene.result import Ablation
    from ropediag.intervene.search import Search
    from ropediag.tune.measure import Estimate

WIDTH = 100  # columns of running text


def print_ablation(console: Console, ablation: "Ablation") -> None:
    """Print pairs, the table of repairs, and what the search and recall found."""
    sequences, length = ablation.nll.shape
    console.print()
    console.print(
        f"{ablation.model} at {sequences} x {length:,} tokens, {ablation.repairs[-1].multiple:.4g} x its "
        f"{_name_trained(ablation)} length of {ablation.training.trained:,}: {_describe_change(ablation)}",
        style="bold",
    )
    console.print(_describe_pairs(ablation))
    several = len(ablation.at) > 1
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for head in (
        *(("at",) if several else ()),
        "x",
        "damage",
        "repaired",
        "last quarter",
        "random",
        "above random",
    ):
        table.add_column(head, justify="right", no_wrap=True)
    shown = sorted(ablation.curve, key=lambda repair: repair.at or 0) if several else ablation.repairs
    for repair in shown:
        table.add_row(
            *((f"{repair.at:g}",) if several else ()),
            f"{repair.multiple:.4g}",
            f"{repair.damage.value:+.3f}",
            _percent(repair.repaired) if repair.repaired else "no damage",
            f"{100 * repair.repaired_tail.value:.1f}" if repair.repaired_tail else "-",
            f"{100 * sum(repair.random) / len(repair.random):.1f}" if repair.random else "-",
            _percent(repair.above_random),
        )
    console.print(table)
    console.print(textwrap.fill(_explain_table(ablation), WIDTH))
    if ablation.search:
        console.print(_describe_search(ablation.search, _name_trained(ablation)))
    if ablation.knees:
        console.print("\ndamage of one pair that is let go, all others held at 0.7 of their reach (nats)")
        console.print(_tabulate_knees(ablation))
    _print_recall(console, ablation)


def _tabulate_knees(ablation: "Ablation") -> Table:
    """Set the damage of each pair over the multiples of its reach."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    steps = list(dict.fromkeys(knee.at for knee in ablation.knees))
    for head in ("pair", *(f"{at:g} x" for at in steps)):
        table.add_column(head, justify="right", no_wrap=True)
    for pair in dict.fromkeys(knee.pair for knee in ablation.knees):
        own = [knee.damage.value for knee in ablation.knees if knee.pair == pair]
        table.add_row(str(pair), *(f"{value:+.3f}" for value in own))
    return table


def _explain_table(ablation: "Ablation") -> str:
    at = "at: multiple of each pair's trained reach beyond which its lag is limited; "
    return (at if len(ablation.at) > 1 else "") + (
        f"over all positions past the {_name_trained(ablation)} length, up to x times it. damage: nats by "
        "which the full context is worse than windows of the longest training length, "
        f"{ablation.training.trained:,} tokens. repaired: per cent of it (95 % interval), 0 as untouched, "
        "100 as in windows; in the last quarter of the positions; by random sets; above them"
    )


def _name_trained(ablation: "Ablation") -> str:
    """Say which of the two lengths is the longer one, from which damage is counted."""
    return "tuning" if ablation.training.tune_len > ablation.training.train_len else "training"


def _describe_change(ablation: "Ablation") -> str:
    """Name the kind and its setting: ``fold at 0.7 to 1.4 x the trained reach, 332 to 1,596 tokens``."""
    if not ablation.at:
        return ablation.change.describe()
    at, reach = (
        " to ".join(dict.fromkeys(f"{end:,.{digits}g}" for end in (min(values), max(values))))
        for values, digits in ((ablation.at, 4), (list(map(round, ablation.sets[0].reaches())), 12))
    )
    return f"{ablation.change.kind} at {at} x the trained reach, {reach} tokens"


def _describe_pairs(ablation: "Ablation") -> str:
    from ropediag.intervene.result import group_places

    if ablation.change.kind == "log":
        return "all logits of the chosen heads"
    chosen = _name_groups(group_places(ablation.sets[0].pairs))
    kept = _name_groups(group_places(ablation.untouched))
    untouched = f"; untouched, for training turned them through the whole circle: {kept}" if kept else ""
    critical = sorted({pair for pair in ablation.critical.values() if pair >= 0})
    compared = f"; {len(ablation.sets) - 1} random sets of equal size" if len(ablation.sets) > 1 else ""
    return f"{chosen}{untouched}; critical pair {word_runs(critical, between=',')}{compared}"


def _name_groups(groups: list[dict[str, list[int]]]) -> str:
    """Name pairs by layers and heads, eight groups at most."""
    named = [
        "pairs {pairs} of layers {layers}, heads {heads}".format(
            **{name: word_runs(numbers, between=",") for name, numbers in group.items()}
        )
        for group in groups[:8]
    ]
    return "; ".join(named) + (f"; {len(groups) - 8} groups more" if len(groups) > 8 else "")


def _describe_search(search: "Search", longer: str) -> str:
    at = f"{search.target:.0%} of the damage at {search.multiple:.4g} x the {longer} length"
    if search.pairs is None:
        found = f"all chosen pairs together repair {search.searched:.1%} on the sequences of the search"
        return f"search: no set repairs {at}: {found}"
    confirmed = f" and {_percent(search.confirmed)} % on the others" if search.confirmed else ""
    pairs = word_runs(search.pairs, between=",")
    return (
        f"search: the smallest set found, pairs {pairs}, repairs {100 * search.searched:.1f} % of the damage "
        f"at {search.multiple:.4g} x the {longer} length on the sequences of the search{confirmed}. "
        f"{100 * search.target:.0f} % was asked for; without any one of its pairs the set repairs less"
    )


def _print_recall(console: Console, ablation: "Ablation") -> None:
    from ropediag.evaluate.result import recall_by_length

    for one, other in zip(ablation.recall, ablation.recall_changed, strict=True):
        changed = dict(recall_by_length(other))
        cells = [
            f"{share.value:.0%} to {changed[length].value:.0%} at {length:,}"
            for length, share in recall_by_length(one)
        ]
        console.print(f"recall, {one.task}, untouched to changed: {', '.join(cells) or 'no prompt fits'}")


def _percent(share: "Estimate | None") -> str:
    if share is None:
        return "-"
    value, low, high = (100 * number for number in (share.value, share.low, share.high))
    return f"{value:.1f} ({low:.1f} to {high:.1f})" if math.isfinite(low) else f"{value:.1f}"
