"""``ropediag laws``: which law predicts the limits of a study's models, fitted on half of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import xarray as xr

from ropediag.cli._options import AsJson

PANEL = "Theory"
EXAMPLE = "ropediag laws studies/results/coverage.h5"


def command(
    table: Annotated[Path, typer.Argument(help="The table.h5 of a study that captures its models.")],
    parents: Annotated[
        bool, typer.Option("--parents", help="Halve the parents instead of the models: none in both halves.")
    ] = False,
    rules: Annotated[
        bool,
        typer.Option("--rules", help="Judge models under scaling rules that nobody trained, not tuned ones."),
    ] = False,
    swing: Annotated[
        Path | None,
        typer.Option(help="Table of another study with the same parents: judge laws by their swing as well."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit the laws of a context limit on one half of a study's models and judge them on the other."""
    import json

    from ropediag.analysis.laws import compare_laws, list_models
    from ropediag.store import open_study

    swings = None if swing is None else open_study(swing)
    models = list_models(open_study(table), rules, swings)
    found = compare_laws(models, "parent" if parents else "name", rules)
    if as_json:
        rows = found.to_dataframe().astype(object).where(lambda frame: frame.notna(), None)
        typer.echo(json.dumps(found.attrs | {"laws": rows.to_dict("index")}, indent=2))
    else:
        _print_table(found)


def _print_table(found: "xr.Dataset") -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    table = Table("law", "mean", "median", "90th percentile", "ratio", "models", box=None, pad_edge=False)
    for name in found.law.values:
        row = found.sel(law=name)
        mean, ratio = (f"{float(row[figure]):.2f}" for figure in ("mean", "ratio"))
        figures = (_interval(row, figure) for figure in ("median", "high"))
        table.add_row(str(name), mean, *figures, ratio, str(int(row["count"])))
    console = Console(highlight=False, markup=False)
    console.print(table)
    what = {"name": "models", "parent": "models of other parents"}[found.attrs["half"]]
    fitted = found.isel(law=np.flatnonzero(found.kappa.notnull()))
    kappas = ", ".join(f"{name}: {_interval(fitted.sel(law=name), 'kappa')}" for name in fitted.law.values)
    lines = [
        f"fitted on {found.attrs['fitted']} models, judged on {found.attrs['judged']} {what}",
        "mean, median and 90th percentile of |log(measured / predicted)|, with 95 % intervals over parents; "
        "ratio: geometric mean of measured over predicted",
    ]
    if kappas:
        lines.append(f"a pair counts as trained after 1 / kappa turns; {kappas}")
    for line in lines:
        console.print(line)


def _interval(row: "xr.Dataset", name: str) -> str:
    value, low, high = (float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return f"{value:.2f} ({low:.2f} to {high:.2f})"
