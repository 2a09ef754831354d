"""What is shipped of the study is what its page says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ropediag.checkpoint import read_checkpoint
from ropediag.study.cells import list_cells
from ropediag.study.config import read_study
from ropediag.study.run import fit_table
from ropediag.tune.metadata import hash_weights, read_metadata

ROOT = Path(__file__).parents[2]
MODELS = sorted((ROOT / "studies" / "models").iterdir())


@pytest.fixture(scope="module")
def table():
    found = xr.load_dataset(ROOT / "studies" / "results" / "scaling-law.h5", engine="h5netcdf")
    return found.assign({name: found[name].astype(bool) for name in ("tuned", "past_critical_base")})


def test_the_table_holds_every_cell_of_the_study_with_its_curve(table):
    cells = list_cells(replace(read_study(ROOT / "studies" / "scaling-law.yaml"), seeds=3))
    assert table.model.values.tolist() == [cell.name for cell in cells]
    assert (np.isfinite(table.excess).sum("position") > 100).all()


def test_the_page_states_the_fit_and_the_limits_of_the_table(table):
    page = (ROOT / "docs" / "scaling-law.md").read_text(encoding="utf-8")
    law = fit_table(table)
    assert (
        f"R² {law.r_squared:.3f}) of slope {law.slope:.2f} (95 % interval {law.low:.2f} to {law.high:.2f}"
        in page
    )
    rows = table[["base", "tune_len", "seed", "tuned", "measured", "measured_low", "measured_high"]]
    for _, seeds in rows.to_dataframe().sort_values("seed").groupby(["base", "tune_len", "tuned"]):
        limits = ", ".join(f"{limit:.0f}" for limit in seeds.measured)
        interval = f"{seeds.measured_low.min():,.0f} to {seeds.measured_high.max():,.0f}"
        assert f"| {limits} | {interval} |" in page


def test_the_page_states_rises_and_costs_of_the_table(table):
    page = (ROOT / "docs" / "scaling-law.md").read_text(encoding="utf-8")
    names = ["base", "seed", "steepest_rise", "short_context_cost"]
    rows = table[names].isel(model=np.flatnonzero(table.tuned & (table.tune_len == 128)))
    tuned = rows.to_dataframe()
    for base in (2500, 500, 100, 81, 60, 41, 30, 20):
        rises = tuned[tuned.base == base].sort_values("seed").steepest_rise
        assert f"| {', '.join(f'{rise:.2f}' for rise in rises)} |" in page, base
    costs = tuned.groupby("base").short_context_cost
    low, high = costs.min(), costs.max()
    larger = low.index >= 20_000
    assert round(low[500], 2) == round(high[500], 2)
    assert f"{low[500]:.2f} nats a token at\n500, {low[20]:.2f} to {high[20]:.2f} at 20" in page
    assert f"against {low[larger].min():.2f} to {high[larger].max():.2f} for the larger bases" in page


def test_the_table_repeats_the_fit_that_it_records(table):
    assert json.loads(table.attrs["law"])["slope"] == pytest.approx(fit_table(table).slope)


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_a_shipped_model_is_the_one_of_its_record(folder):
    record = read_metadata(folder)
    config, _ = read_checkpoint(folder)
    assert record.weights_hash == hash_weights(folder)
    assert config["rope_parameters"]["rope_theta"] == record.base
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 8_000_000
