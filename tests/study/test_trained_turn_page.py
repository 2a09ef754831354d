"""What ``docs/trained-turn.md`` states is what the shipped tables say, figure by figure."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from ropediag.analysis.lateness import compare_thresholds
from ropediag.analysis.laws import compare_laws, list_models
from ropediag.analysis.stretch import CLIFF, measure_stretch
from ropediag.analysis.trained_turn import (
    errors_of,
    predict_by_stretch,
    predict_from_lateness,
    predict_limits,
)
from ropediag.limits import FITTED_TURNS
from ropediag.store import open_capture, open_study
from ropediag.study.cells import list_cells
from ropediag.study.config import read_study

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "trained-turn.md").read_text(encoding="utf-8")
PROSE = " ".join(PAGE.split())
STUDIES = ("coverage", "turns", "stretch")
SHARES = (
    0.0,
    0.25,
    0.5,
    0.625,
    0.75,
    0.875,
    1.0,
    2.0,
    np.inf,
)  # of a turn, ends of the rows of drifting pairs


@pytest.fixture(scope="module")
def tables():
    return {name: open_study(ROOT / "studies" / "results" / f"{name}.h5") for name in STUDIES}


def write_interval(row, name):
    value, low, high = (float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def write_law(row):
    figures = " | ".join(write_interval(row, name) for name in ("median", "high", "ratio"))
    return f"| {row.law.item()} | {'' if row.kappa.isnull() else write_interval(row, 'kappa')} | {figures} |"


def write_threshold(row):
    figures = " | ".join(f"{float(row[name]):.2f}" for name in ("lateness", "ratio"))
    left = " | ".join(f"{float(row[name]):.2f}" for name in ("left", "stretched"))
    return f"| {float(row.threshold):g} | {figures} | {write_interval(row, 'kappa')} | {left} |"


def list_drifting(table):
    """Share of heads whose pair has left its range by the limit, in rows of turns made in pretraining."""
    untuned = table.isel(model=np.flatnonzero(~table.tuned.values.astype(bool))).transpose(
        "model", "pair", ...
    )
    turns, drifting = (untuned.train_len / untuned.period).values, untuned.drifting.values
    for low, high in itertools.pairwise(SHARES):
        chosen = (turns >= low) & (turns < high) & np.isfinite(drifting)
        yield low, high, int(chosen.sum()), float(drifting[chosen].mean())


def list_chosen(table):
    """Turns, excess at twice the training length and drift of the slowest pair, a model each."""
    for index in range(table.sizes["model"]):
        row = table.isel(model=index)
        last = int(np.isfinite(row.period).sum()) - 1
        excess = float(row.excess.dropna("position").interp(position=2.0 * float(row.train_len)))
        yield round(float(row.train_len / row.period[last]), 3), excess, float(row.drift[last])


def write_chosen(turns, models):
    excess, drift = (" and ".join(f"{one[place]:.2f}" for one in models) for place in (1, 2))
    return f"| {turns:g} | {excess} | {drift} |"


@pytest.mark.parametrize("name", STUDIES)
def test_the_tables_hold_every_cell_of_their_study_and_the_page_what_it_cost(
    tables, name, tmp_path, monkeypatch
):
    table = tables[name]
    monkeypatch.chdir(tmp_path)
    for part in ("train", "heldout"):  # only named here, not read
        (tmp_path / "build" / "prose" / part).mkdir(parents=True)
    cells = list_cells(read_study(ROOT / "studies" / f"{name}.yaml"))
    assert table.model.values.tolist() == [cell.name for cell in cells]
    assert f"| [{name}.yaml](../studies/{name}.yaml) | {len(cells)} |" in PAGE
    assert f"| {float(table.cpu_seconds.sum()) / 3600:.1f} |" in PAGE


@pytest.mark.parametrize("half", ["name", "parent"])
def test_the_page_states_how_each_law_did_on_models_it_had_not_seen(tables, half):
    found = compare_laws(list_models(tables["coverage"]), half)
    assert f"on {found.attrs['fitted']} models, judged on the other {found.attrs['judged']}" in PROSE
    for law in found.law.values:
        assert write_law(found.sel(law=law)) in PAGE
    if half == "name":
        assert round(1 / float(found.kappa.sel(law="share of a turn")), 2) == FITTED_TURNS


def test_the_page_states_what_the_threshold_does(tables):
    found = compare_thresholds(tables["coverage"], [0.05, 0.1, 0.2, 0.3, 0.5])
    for index in range(found.sizes["threshold"]):
        assert write_threshold(found.isel(threshold=index)) in PAGE


def test_the_page_states_which_pairs_drift_by_the_limit(tables):
    for low, high, count, share in list_drifting(tables["coverage"]):
        assert f"| {low:g} to {high:g} | {count} | {share:.2f} |".replace("to inf", "and more") in PAGE


def test_the_page_states_what_chosen_turns_cost(tables):
    models = list(list_chosen(tables["turns"]))
    for turns in sorted({one[0] for one in models}):
        assert write_chosen(turns, [one for one in models if one[0] == turns]) in PAGE


def list_afterwards(table):
    """Rows of the laws on the models of ``stretch.yaml``: all, those with a cliff, those without."""
    models = list_models(table)
    cliff = np.array([one.lateness <= CLIFF for one in models])
    laws = {
        "paper": predict_limits(models, ceiled=True),
        "paper, no ceiling": predict_limits(models),
        "share of a turn": predict_limits(models, 1 / FITTED_TURNS),
        "no ceiling, late as the parent": predict_from_lateness(models),
        "stretch of the onset pair": predict_by_stretch(models, whole=True),
        "stretch of the onset": predict_by_stretch(models),
    }
    for name, predicted in laws.items():
        errors = errors_of(models, predicted)
        logs = np.log([one.measured for one in models] / predicted)
        figures = [
            f"{np.median(errors[chosen]):.2f} | {np.quantile(errors[chosen], 0.9):.2f} | {ratio:.2f}"
            for chosen in (cliff, ~cliff)
            for ratio in [np.exp(logs[chosen].mean())]
        ]
        yield f"| {name} | {' | '.join(figures)} |"


def test_the_page_states_how_the_laws_did_on_models_made_afterwards(tables):
    for row in list_afterwards(tables["stretch"]):
        assert row in PAGE
    models = list_models(tables["stretch"])
    slow = sorted({one.lateness for one in models if one.lateness > CLIFF}, reverse=True)
    assert f"only at {' and '.join(f'{each:.1f}' for each in slow)} times that length" in PROSE
    share, paper = predict_limits(models, 1 / FITTED_TURNS), predict_limits(models, ceiled=True)
    stretch, share, paper = (
        np.median(errors_of(models, law)) for law in (predict_by_stretch(models), share, paper)
    )
    assert (
        f"the median error is {stretch:.2f} for the stretch of the onset, {share:.2f} for the share of a "
        f"turn and {paper:.2f} for the paper's law." in PROSE
    )


def test_the_page_states_what_the_stretch_says_of_the_bundled_model():
    with open_capture(ROOT / "captures" / "example-8192.h5") as capture:
        stretch = measure_stretch(capture)
    rows = open_study(ROOT / "studies" / "results" / "scaling-law.h5").drop_dims(["position", "multiple"])
    table = rows.to_dataframe().query("tuned and past_critical_base")
    ratio = table.measured / table.base.map(stretch.limit_at)
    error, paper = (np.abs(np.log(each)).median() for each in (ratio, table.measured / table.predicted))
    words = f"{ratio.min():.2f} to {ratio.max():.2f} times what the stretch says (median error {error:.2f}"
    assert f"{words}; the paper's law {paper:.2f})" in PROSE
