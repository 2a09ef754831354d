"""The difference of two captures: any diagnostic over all heads, and contributions of the selected one."""

from typing import Any

import dash_mantine_components as dmc
import plotly.graph_objects as go
import xarray as xr

from ropediag.analysis.compare import SCORES, match, measure_one
from ropediag.analysis.diagnostic import list_diagnostics
from ropediag.analysis.difference_map import map_difference, rank_part
from ropediag.analysis.ranking import Ranking
from ropediag.plots.difference import plot_difference

from ..cards import show_table
from ..page import Choice, Panel, Part
from ..view import View
from ._code import open_in_python
from ._compared import CAPTURES, list_compared, sort_captures
from ._variables import list_variables


def _find_measurable(view: View) -> str:
    """Give the first of the chosen captures that can be measured, else the first."""
    views, _ = sort_captures(view)
    known = [each.entry.name for each in views.values()]
    compared = list_compared(view)
    return next((name for name in compared if name in known), compared[0])


AGAINST = Choice(
    "against",
    "Subtract the selected capture from",
    lambda view: {name: name for name in list_compared(view)},
    _find_measurable,
    uses=CAPTURES,
    width=270,
)
DIFFERENCE = Choice(
    "difference",
    "Diagnostic",
    lambda view: {name: found.question for name, found in list_diagnostics().items()},
    lambda view: "drift",
    width=430,
)


def _measure_sides(view: View) -> tuple[xr.Dataset, xr.Dataset]:
    """Give what the chosen diagnostic says of the selected capture, and of the other."""
    chosen = list_diagnostics()[DIFFERENCE.value(view)]
    return view.measure(chosen), view.of(AGAINST.value(view)).measure(chosen)


def _list_variables(view: View) -> dict[str, str]:
    first, second = _measure_sides(view)
    return list_variables(second, first)


VARIABLE = Choice(
    "difference_variable",
    "What of it",
    _list_variables,
    lambda view: next(iter(_list_variables(view))),
    uses=(*CAPTURES, "against", "difference"),
    width=290,
)
LAYER = Choice(
    "difference_layer",
    "Layer, if not all fit",
    lambda view: {str(layer): str(layer) for layer in view.capture.values("layer").tolist()},
    lambda view: str(view.layer),
    width=130,
)
DIFFERENCE_CHOICES = (AGAINST, DIFFERENCE, VARIABLE, LAYER)
USES = (*CAPTURES, *(choice.field for choice in DIFFERENCE_CHOICES))


def _match(view: View) -> tuple[xr.Dataset, xr.Dataset]:
    """Give the chosen variable, with its error, of both on the labels that both have."""
    first, second = _measure_sides(view)
    name, other = VARIABLE.value(view), view.of(AGAINST.value(view))
    wanted = [each for each in (name, f"{name}_se") if each in first and each in second]
    return match((view.capture, other.capture), (first[wanted], second[wanted]), DIFFERENCE.value(view))


def _place(view: View) -> dict[str, int]:
    return {"layer": int(LAYER.value(view)), "query_head": view.query_head}


def _draw(measured: xr.Dataset, view: View) -> go.Figure:
    return plot_difference(measured, view.capture.critical_pair)


def _explain(measured: xr.Dataset) -> str:
    attrs = measured.attrs
    text = f"{attrs['question']} Positive: {attrs['high']}. The first is the selected capture."
    if attrs["part"]:
        text += f" Of {attrs['part']}."
    cells = f"{attrs['clipped']:,} of {attrs['cells']:,} cells"
    text += f" The colours end at ±{attrs['reach']:.3g}; {cells} lie beyond."
    if attrs["first_length"] != attrs["second_length"]:
        text += (
            f" The captures are {attrs['first_length']:,} and {attrs['second_length']:,} tokens long: a "
            "value over all lags or positions reaches further in the longer one."
        )
    return text


def _write_code(view: View, name: str, variable: str, at: dict[str, int]) -> str:
    opening = open_in_python(
        "from ropediag.analysis.compare import measure_both\n"
        "from ropediag.analysis.difference_map import map_difference\n"
        "from ropediag.plots.difference import plot_difference",
        selected=view.entry.path,
        other=view.of(AGAINST.value(view)).entry.path,
    )
    return (
        f"{opening}both = measure_both(selected, other, {name!r})\n"
        f"found = map_difference(both, {variable!r}, {at!r})\n"
        "plot_difference(found, selected.critical_pair)"
    )


MAP = Panel(
    name="difference-map",
    title="Difference map: that capture minus the selected one",
    uses=USES,
    measure=lambda view: map_difference(_match(view), VARIABLE.value(view), _place(view)),
    draw=_draw,
    code=lambda view: _write_code(view, DIFFERENCE.value(view), VARIABLE.value(view), _place(view)),
    explain=_explain,
    height=460,
)


def _match_scores(view: View) -> tuple[xr.Dataset, xr.Dataset]:
    """Give the contributions of the selected head by pair and lag, of both captures."""
    other, place = view.of(AGAINST.value(view)), _selected(view)
    first, second = (side.measure(measure_one, name=SCORES, **place) for side in (view, other))
    return match((view.capture, other.capture), (first, second), SCORES)


def _selected(view: View) -> dict[str, int]:
    return {"layer": view.layer, "query_head": view.query_head}


BY_LAG = Panel(
    name="difference-by-lag",
    title="Difference in the selected head: mean contribution by pair and lag",
    uses=(*CAPTURES, "against", "layer", "query_head"),
    measure=lambda view: map_difference(_match_scores(view), "mean", _selected(view)),
    draw=_draw,
    code=lambda view: _write_code(view, SCORES, "mean", _selected(view)),
    explain=_explain,
    height=420,
)


def _show_largest(view: View) -> Any:
    return show_differences(rank_part(_match(view), VARIABLE.value(view), _place(view)))


def show_differences(ranking: Ranking) -> list[Any]:
    """Show the largest differences of one variable, and how many stand."""
    unit = "" if ranking.units == "1" else f" ({ranking.units})"
    if ranking.tested:
        said = (
            f"Of {ranking.tested:,} tested differences {ranking.standing:,} stand at a rate of false "
            "discoveries of 1 %. The largest of them:"
        )
    else:
        said = f"This variable has no errors; {ranking.standing:,} cells differ. The largest:"
    head = ("where", f"selected{unit}", "other", "difference", "± standard error")
    rows = [
        [
            ", ".join(f"{axis.removeprefix('query_')} {label}" for axis, label in each.at.items()),
            f"{each.first:.4g}",
            f"{each.second:.4g}",
            f"{each.difference:+.4g}",
            "" if each.error is None else f"{each.error:.2g}",
        ]
        for each in ranking.differences
    ]
    if not rows:
        return [
            dmc.Text("No difference stands." if ranking.tested else "Nothing differs.", size="sm", mb="md")
        ]
    return [dmc.Text(said, size="sm"), show_table(head, rows)]


LARGEST = Part("largest-differences", USES, _show_largest)
