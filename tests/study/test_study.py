"""A study from its YAML to its table: each cell made once, whatever is killed in between."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ropediag.errors import ConfigError, RopediagError
from ropediag.prediction import predict
from ropediag.study.config import Evaluation, Grid, StudyConfig, Tuning
from ropediag.study.run import fit_table, run_study
from ropediag.study.table import recall_reach, steepest_rise
from ropediag.tune.pretrain import pretrain_model
from tests.trials import only_long
from tests.tune.tiny import tiny_config

START = "import torch; torch.set_num_threads(1); from ropediag.cli import main; main()"


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return pretrain_model(tiny_config(tmp_path_factory.mktemp("study")), say=lambda line: None)


@pytest.fixture(scope="module")
def config(parent):
    text = (parent.parent / "text.py",)
    return StudyConfig(
        name="tiny",
        parents=(str(parent),),
        grid=(Grid((2000.0, 8000.0), (64,)),),
        tune=Tuning(steps=3, tokens=256, text=text),
        evaluate=Evaluation(sequences=2, least=256, reach=1.5, text=text),
    )


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return run_study(config, folder, say=lambda line: None)


def made(folder: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("cells/*/evaluation.h5")}


def test_every_cell_has_its_row_with_the_limit_that_its_checkpoint_predicts(finished, parent):
    table = xr.load_dataset(finished.folder / "table.h5", engine="h5netcdf")
    assert table.model.values.tolist() == ["parent", "parent-b2000-t64-s0", "parent-b8000-t64-s0"]
    for name in table.model.values[1:]:
        row = table.sel(model=name)
        assert float(row.predicted) == predict(finished.folder / "cells" / name / "model").predicted_limit
        assert np.isfinite(row.excess).any()
        assert np.isfinite(row.short_context_cost)
    assert float(table.predicted[0]) == predict(parent).predicted_limit
    assert len((finished.folder / "table.csv").read_text().splitlines()) == 4


def test_a_second_run_makes_nothing_again_and_a_new_seed_only_its_own_cells(finished, config):
    before = made(finished.folder)
    run_study(config, finished.folder, say=lambda line: None)
    assert made(finished.folder) == before
    run_study(replace(config, seeds=2), finished.folder, say=lambda line: None)
    after = made(finished.folder)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"parent-b2000-t64-s1", "parent-b8000-t64-s1"}


def test_a_folder_with_cells_of_another_kind_is_refused(finished, config):
    with pytest.raises(ConfigError, match="tuned or evaluated otherwise"):
        run_study(replace(config, tune=replace(config.tune, steps=4)), finished.folder)


def test_a_cell_that_fails_is_named_and_the_others_are_made(config, tmp_path):
    broken = replace(config, grid=(Grid((2000.0,), (64, 100_000)), Grid((8000.0,), (64,))))
    with pytest.raises(RopediagError, match=r"1 of 4 cells failed, first parent-b2000-t100000-s0: the text"):
        run_study(broken, tmp_path / "runs", say=lambda line: None)
    assert set(made(tmp_path / "runs")) == {"parent", "parent-b2000-t64-s0", "parent-b8000-t64-s0"}


def write_yaml(config, path):
    (text,) = config.tune.text
    path.write_text(
        f"name: tiny\nparents: ['{config.parents[0]}']\ngrid: [{{bases: [2000, 8000], lengths: 64}}]\n"
        f"tune: {{steps: 3, tokens: 256, text: ['{text}']}}\n"
        f"evaluate: {{sequences: 2, least: 256, reach: 1.5, text: ['{text}']}}\n"
    )


@pytest.mark.parametrize("engine", ["local", only_long("ray")])
def test_a_killed_study_goes_on_without_making_a_finished_cell_again(config, tmp_path, engine):
    if engine == "ray":
        pytest.importorskip("ray")
    write_yaml(config, tmp_path / "tiny.yaml")
    folder = tmp_path / "runs"
    words = ["study", str(tmp_path / "tiny.yaml"), "--out", str(folder), "--engine", engine]
    command = [sys.executable, "-c", START, *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 500
    while not made(folder):
        assert process.poll() is None, "the study ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = made(folder)
    assert before
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    after = made(folder)
    assert len(after) == 3
    assert {name: after[name] for name in before} == before
    assert (folder / "table.csv").exists()


def test_an_engine_that_is_not_there_is_named(config, tmp_path):
    with pytest.raises(ConfigError, match="no engine 'slurm'"):
        run_study(config, tmp_path, engine="slurm", say=lambda line: None)


def test_the_steepest_rise_is_that_of_every_pair_of_positions():
    curve = np.random.default_rng(0).normal(size=60).cumsum()
    centre = np.arange(60) + 5
    slow = max(curve[i + 8] - curve[i] for i in range(60 - 8) if centre[i] >= 8)
    assert steepest_rise(curve, centre, 8) == slow
    assert np.isnan(steepest_rise(curve[:10], centre[:10], 9))


def test_the_reach_of_recall_ends_at_the_first_length_below_one_half():
    shares = [(64, 0.9), (128, 0.5), (256, 0.4), (512, 0.8)]
    entries = [{"length": length, "value": value} for length, value in reversed(shares)]
    assert recall_reach([{"by_length": entries}]) == 128
    assert recall_reach([{"by_length": [{"length": 64, "value": 0.1}]}]) == 0
    assert np.isnan(recall_reach([]))


def test_the_law_is_fitted_to_tuned_models_past_their_critical_base_with_both_limits():
    predicted = np.array([100.0, 200, 400, 400, 800, 1600, 3200])
    table = xr.Dataset(
        {
            "base": ("model", predicted * 10),
            "tune_len": ("model", [128] * 7),
            "tuned": ("model", [True, True, True, True, True, False, True]),
            "past_critical_base": ("model", [True, True, True, True, False, True, True]),
            "predicted": ("model", predicted),
            "measured": ("model", [150.0, 300, 300, 1200, 1, 1, np.nan]),  # two seeds, geometric mean 600
        }
    )
    fit = fit_table(table)
    assert (fit.count, fit.slope, fit.ratio) == (3, pytest.approx(1), pytest.approx(1.5))
    assert fit_table(table.isel(model=[0, 1, 4])) is None
