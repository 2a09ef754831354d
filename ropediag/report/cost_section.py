"""The section of the attributions: what unseen angles cost, by pair and by head."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ropediag.analysis.attribution import list_top, measure_attribution, word_attribution
from ropediag.plots.attribution import plot_cost_by_head, plot_cost_waterfall
from ropediag.recipe import write_command
from ropediag.report.figures import Drawing, draw
from ropediag.report.made import list_facts
from ropediag.store import Capture


@dataclass(frozen=True, eq=False)
class CostSection:
    """What the page says of one attribution.

    Attributes
    ----------
    name : of its element in the page
    file : name of the file
    sentences : the sum, its largest parts and its error
    waterfall, by_head : the figures
    top : the largest parts
    facts, command : how it was made
    """

    name: str
    file: str
    sentences: list[str]
    waterfall: Drawing
    by_head: Drawing
    top: list[dict[str, Any]]
    facts: list[tuple[str, str]]
    command: str | None


def describe_costs(attributions: Mapping[str, Capture]) -> tuple[CostSection, ...]:
    """Describe and draw attributions, by the names of their files."""
    return tuple(
        _describe(file, name, f"cost-{index}") for index, (name, file) in enumerate(attributions.items())
    )


def _describe(file: Capture, name: str, place: str) -> CostSection:
    table = measure_attribution(file)
    sentences = word_attribution(table)
    return CostSection(
        place,
        name,
        sentences,
        draw(f"{place}-waterfall", plot_cost_waterfall(table), sentences[0]),
        draw(f"{place}-heads", plot_cost_by_head(table), sentences[-1]),
        list_top(table),
        list_facts(file.attrs, file.sizes["sequence"]),
        write_command("attribute", file.attrs.get("config"), file.attrs.get("figures")),
    )
