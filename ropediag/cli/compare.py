"""``ropediag compare``: what differs between two captures, diagnostic by diagnostic."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ropediag.analysis.ranking import Difference, Ranking
    from ropediag.store import Capture

PANEL = "Look"
EXAMPLE = "ropediag compare captures/my-demo-8192.h5 captures/my-tuned-8192.h5"
SHOWN = 3  # differences of each diagnostic


def command(
    first: Annotated[Path, typer.Argument(metavar="A", help="A capture.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The capture to compare with it.")],
    diagnostic: Annotated[
        list[str] | None, typer.Option(help="Which one, or scores; may be repeated. All if not given.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write all differences there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the largest differences as JSON.")] = False,
) -> None:
    """Show where two captures differ most: B minus A, on the lags, layers, heads and pairs of both."""
    from ropediag.analysis.compare import list_comparisons
    from ropediag.cli._tables import make_folder
    from ropediag.errors import RopediagError
    from ropediag.store import open_capture

    folder = None if csv is None else make_folder(csv)
    ranked: dict[str, Ranking] = {}
    left_out: dict[str, RopediagError] = {}
    with open_capture(first) as one, open_capture(second) as other:
        for name in diagnostic or list_comparisons():
            try:
                ranked[name] = _rank(one, other, name, folder)
            except RopediagError as error:
                if diagnostic:
                    raise
                left_out[name] = error
        if not ranked:
            raise next(iter(left_out.values()))
        show = _print_json if as_json else _print_table
        show((one, other), ranked, {name: str(error) for name, error in left_out.items()})


def _rank(one: "Capture", other: "Capture", name: str, folder: Path | None) -> "Ranking":
    """The largest differences of one diagnostic; all of them into the folder, if there is one."""
    from ropediag.analysis.compare import measure_both, subtract
    from ropediag.analysis.ranking import rank_differences
    from ropediag.cli._tables import write_tables

    both = measure_both(one, other, name)
    if folder is not None:
        write_tables(subtract(*both), folder, name)
    return rank_differences(*both, count=SHOWN)


def _print_json(
    captures: "tuple[Capture, Capture]", ranked: "dict[str, Ranking]", left_out: dict[str, str]
) -> None:
    import json

    sides = (
        {
            "path": str(capture.path),
            "model": capture.attrs.get("model", ""),
            "length": capture.attrs["length"],
        }
        for capture in captures
    )
    fields = dict(zip(("first", "second"), sides, strict=True))
    differences = {name: asdict(found) for name, found in ranked.items()}
    typer.echo(json.dumps(fields | {"differences": differences, "left_out": left_out}, indent=2))


def _print_table(
    captures: "tuple[Capture, Capture]", ranked: "dict[str, Ranking]", left_out: dict[str, str]
) -> None:
    for side, capture in zip("AB", captures, strict=True):
        model, length = capture.attrs.get("model", ""), int(capture.attrs["length"])
        typer.echo(f"{side}  {capture.path}: {model} at {length:,} tokens")
    headline = _word_headline(captures)
    if headline:
        typer.echo(headline)
    rows = {name: [_describe(each) for each in found.differences] for name, found in ranked.items()}
    cells = [("", "A", "B", "B - A"), *(row for found in rows.values() for row in found)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    typer.echo(_align(cells[0], widths))
    for name, found in ranked.items():
        unit = "" if found.units == "1" else f" ({found.units})"
        typer.echo(f"{name}: {found.variable}{unit}; {_count(found)}")
        for row in rows[name]:
            typer.echo(_align(row, widths))
    typer.echo(
        "+/- is one standard error. significant: at a false-discovery rate of 1 %, all entries of a variable "
        "tested\ntogether (Student's t; Benjamini and Hochberg). Without standard errors nothing is tested."
    )
    for name, reason in left_out.items():
        typer.echo(f"left out {name}: {reason}")


def _count(found: "Ranking") -> str:
    """Write how many were tested and how many are significant."""
    if not found.tested:
        return f"not tested, {found.standing:,} differ{'s' if found.standing == 1 else ''}"
    return f"{found.tested:,} tested, {found.standing:,} significant"


def _word_headline(captures: "tuple[Capture, Capture]") -> str:
    """Write in one line what changed; nothing where a capture does not state its training length."""
    from ropediag.analysis.verdict import judge_capture
    from ropediag.cli._headline import word_headline
    from ropediag.errors import RopediagError

    try:
        verdicts = [judge_capture(capture) for capture in captures]
    except RopediagError:
        return ""
    return word_headline(
        [verdict.measured_limit for verdict in verdicts],
        [verdict.predicted_limit for verdict in verdicts],
        [verdict.drifting_pairs for verdict in verdicts],
        _change_short_context(*captures),
    )


def _change_short_context(one: "Capture", other: "Capture") -> float | None:
    """Return B minus A of the loss in windows, nats, where both read the same text in the same windows."""
    alike = all(one.attrs.get(name) == other.attrs.get(name) for name in ("text_hash", "train_len"))
    if not alike or not all("loss/nll_windowed" in capture for capture in (one, other)):
        return None
    means = [
        float(capture["loss/nll_windowed"].isel(position=slice(1, None)).mean()) for capture in (one, other)
    ]
    return means[1] - means[0]


def _describe(each: "Difference") -> tuple[str, str, str, str]:
    named = {axis: label if isinstance(label, str) else f"{label:,}" for axis, label in each.at.items()}
    where = ", ".join(f"{axis} {label}" for axis, label in named.items())
    error = "" if each.error is None else f" +/- {each.error:.2g}"
    return where, f"{each.first:.4g}", f"{each.second:.4g}", f"{each.difference:+.4g}{error}"


def _align(row: tuple[str, ...], widths: list[int]) -> str:
    first, second, third, last = row
    return f"  {first:{widths[0]}}  {second:>{widths[1]}}  {third:>{widths[2]}}  {last}"
