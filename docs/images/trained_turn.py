"""Draw the figures of ``docs/trained-turn.md``, from ``studies/results``.

Needs what ``breakdown.py`` needs.
"""

from pathlib import Path

from ropediag.analysis.laws import compare_laws, list_models
from ropediag.plots.laws import plot_laws
from ropediag.plots.turns import plot_damage_by_turns, plot_drift_by_turns
from ropediag.store import open_study

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "studies" / "results"
MULTIPLE = 2  # of the training length

coverage, turns = open_study(RESULTS / "coverage.h5"), open_study(RESULTS / "turns.h5")
figures = {
    "trained-turn-laws": plot_laws(compare_laws(list_models(coverage), "parent")),
    "trained-turn-drift": plot_drift_by_turns(coverage),
    "trained-turn-chosen": plot_damage_by_turns(turns, MULTIPLE),
}
for name, figure in figures.items():
    figure.write_image(HERE / f"{name}.svg", width=760, scale=2)
    print(f"wrote {HERE / name}.svg")
