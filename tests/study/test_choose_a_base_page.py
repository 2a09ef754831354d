"""What ``docs/choose-a-base.md`` and ``ropediag predict`` say of the law's errors is what the tables say."""

from pathlib import Path

import numpy as np
import pytest

from ropediag.analysis.stretch import FARTHEST
from ropediag.cli.predict import FALLEN_SHORT
from ropediag.limits import extrapolation_limit
from ropediag.store import open_study

ROOT = Path(__file__).parents[2]
PROSE = " ".join((ROOT / "docs" / "choose-a-base.md").read_text(encoding="utf-8").split())
STUDIES = ("coverage", "stretch", "scaling-law", "critical-dimension", "base-for-length")
HEADS = {"h32": 32, "h64": 64, "h128": 128}  # studies that name the head size in the model's name


def rotary_dim(table, row):
    if "rotary_dim" in table and np.isfinite(table.rotary_dim.values[row]):
        return int(table.rotary_dim.values[row])
    return HEADS.get(str(table.model.values[row]).split("-")[0], 64)


def list_ratios(name):
    """Measured over predicted of each model tuned with a larger base, by the law as printed and unceiled."""
    table = open_study(ROOT / "studies" / "results" / f"{name}.h5")
    models = table.sizes["model"]
    pretrain_base, train_len = (
        table[column].values if column in table else np.full(models, default)
        for column, default in (("pretrain_base", 1e4), ("train_len", 128))
    )
    for row in range(models):
        base, measured = float(table.base[row]), float(table.measured[row])
        known = np.isfinite(measured) and np.isfinite(float(table.predicted[row]))
        if not (bool(table.tuned[row]) and base > pretrain_base[row] and known):
            continue
        numbers = rotary_dim(table, row), base, pretrain_base[row], int(train_len[row])
        unceiled = extrapolation_limit(*numbers, int(table.tune_len[row]), ceiled=False)
        yield measured / float(table.predicted[row]), measured / unceiled, base / pretrain_base[row]


@pytest.fixture(scope="module")
def ratios():
    return {name: np.array(list(list_ratios(name))) for name in STUDIES}


def test_the_page_states_how_far_limits_fall_from_the_law(ratios):
    every = np.concatenate(list(ratios.values()))
    printed, unceiled = every[:, 0], np.sort(every[:, 1])
    assert f"{len(every)} models of under a million parameters" in PROSE
    assert f"between {printed.min():.2f} and {printed.max():.1f} times the law's" in PROSE
    assert f"and {(printed < 0.9).sum()} of them below 0.9" in PROSE
    coverage = ratios["coverage"][:, 0]
    assert f"({(coverage < 0.9).sum()} of the {len(coverage)} models of `coverage.csv`)" in PROSE
    assert f"between {unceiled[1]:.2f} and {unceiled[-1]:.2f} times that law's" in PROSE
    assert f"but for one model at {unceiled[0]:.2f}" in PROSE
    assert ratios["critical-dimension"][:, 1].min() == unceiled[0]


def test_the_command_states_how_many_fell_short(ratios):
    coverage = ratios["coverage"][:, 0]
    assert f"{(coverage < 0.9).sum()} of {len(coverage)}" == FALLEN_SHORT


def test_the_warning_of_stretch_begins_past_the_largest_base_that_was_measured(ratios):
    assert ratios["stretch"][:, 2].max() == FARTHEST
