"""The ablations of a folder, read once, and the curve over the trained reach that they draw together."""

from collections.abc import Mapping
from functools import partial

from ropediag.analysis.reach_curves import tabulate_reach_curves
from ropediag.analysis.repair_figures import RepairFigures, read_figures
from ropediag.errors import RopediagError
from ropediag.plots.reach_curves import plot_reach_curves

from ..catalog import Entry
from ..page import Panel
from ..view import Desk, View


def read_ablations(desk: Desk) -> tuple[dict[str, RepairFigures], list[str]]:
    """Read the figures of every ablation in the folder; also return why some cannot be read."""
    read, reasons = {}, []
    for name, entry in desk.entries("ablation").items():
        try:
            read[name] = desk.keep(entry, "repair_figures", partial(_read, desk, entry))
        except RopediagError as error:
            reasons.append(str(error).replace(str(entry.path), name))
    return read, reasons


def _read(desk: Desk, entry: Entry) -> RepairFigures:
    return read_figures(desk.open(entry))


def write_together(view: View, module: str, read: Mapping[str, RepairFigures]) -> str:
    """Write the code of a figure of ablations, by the module that measures and the one that draws it."""
    return (
        "from ropediag import open_capture\n"
        f"from ropediag.analysis.{module} import measure_{module}\n"
        f"from ropediag.plots.{module} import plot_{module}\n"
        f"folder, names = {str(view.desk.catalog.folder)!r}, {list(read)!r}\n"
        "files = {name: open_capture(f'{folder}/{name}') for name in names}\n"
        f"plot_{module}(measure_{module}(files))"
    )


def reach_panel(name: str, of_capture: bool) -> Panel:
    """Describe the figure of curves over the trained reach.

    Parameters
    ----------
    name : its id, unique in the app
    of_capture : whether it shows the ablations of the selected capture's model alone
    """

    def choose(view: View) -> dict[str, RepairFigures]:
        read, _ = read_ablations(view.desk)
        if not of_capture:
            return read
        return {name: each for name, each in read.items() if each.model == view.capture.attrs["model"]}

    return Panel(
        name=name,
        title="How far the pairs may turn",
        uses=("capture",) if of_capture else (),
        measure=lambda view: tabulate_reach_curves(choose(view)),
        draw=lambda measured, view: plot_reach_curves(measured),
        code=lambda view: write_together(view, "reach_curves", choose(view)),
        explain=lambda measured: (
            "What is repaired when the lags of the pairs are limited earlier or later, in trained reaches of "
            "each pair: 1 is the first lag at an angle that training never showed it. Where the share falls "
            "between 1 and 1.4 in all models, and at different tokens, the reach decides, not the length. "
            "Folded lags go back into the upper half of what the pair saw, clipped ones stay at the limit."
        ),
        height=460,
    )
