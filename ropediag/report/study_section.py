"""The section of a study: the law fitted to its models, their reach, and a row for each."""

import math
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from ropediag.analysis.law import word_law
from ropediag.plots.law import plot_law
from ropediag.plots.reach import plot_reach
from ropediag.report.cells import NONE, write_count, write_interval
from ropediag.report.figures import Drawing, draw

HEAD = (
    "model",
    "base",
    "tuned at",
    "law's limit",
    "measured limit",
    "measured / law",
    "cost in short context",
)

ABOVE = "Models above the dashed line reach further than the law says."


@dataclass(frozen=True, eq=False)
class StudySection:
    """What the page says of a study.

    Attributes
    ----------
    name : of its element in the page
    file : name of the file
    count : models
    sentence : the law that was fitted
    drawings : the figures, each with its heading
    head, rows : of the table
    """

    name: str
    file: str
    count: int
    sentence: str
    drawings: tuple[tuple[str, Drawing], ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def describe_study(table: xr.Dataset, path: Path, name: str) -> StudySection:
    """Draw a study's law and reach, and write its table.

    Parameters
    ----------
    table : as ``open_study`` gives it
    path : of its file
    name : of its element in the page
    """
    sentence = word_law(table)
    drawings = [("How far does each base reach?", draw(f"{name}-reach", plot_reach(table), ""))]
    if "law" in table.attrs:
        drawings.insert(0, ("Measured against predicted", draw(f"{name}-law", plot_law(table), ABOVE)))
    models = range(table.sizes["model"])
    return StudySection(
        name=name,
        file=path.name,
        count=table.sizes["model"],
        sentence=sentence,
        drawings=tuple(drawings),
        head=HEAD,
        rows=tuple(_row(table.isel(model=index)) for index in models),
    )


def _row(own: xr.Dataset) -> tuple[str, ...]:
    ratio, cost = float(own.measured / own.predicted), float(own.get("short_context_cost", math.nan))
    return (
        own.model.item(),
        f"{float(own.base):,.10g}",
        write_count(float(own.tune_len)) if own.tuned else "untuned",
        write_count(float(own.predicted)),
        write_interval(own, "measured"),
        f"{ratio:.2f}" if math.isfinite(ratio) else NONE,
        f"{cost:+.3f}" if math.isfinite(cost) else NONE,
    )
