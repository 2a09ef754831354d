"""Studies that pretrain their own parents, tune with scaling rules and capture what they make."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from ropediag.analysis.drift import measure_drift
from ropediag.analysis.onset_pair import measure_onset_pair
from ropediag.errors import ConfigError
from ropediag.prediction import predict
from ropediag.store import open_capture
from ropediag.study.cells import list_cells
from ropediag.study.config import StudyConfig
from ropediag.study.plan import plan_capture, plan_evaluation
from ropediag.study.run import run_study
from ropediag.study.sections import Capturing, Evaluation, Grid, Pretraining, Scaling, Tuning
from ropediag.tune.metadata import read_metadata
from tests.trials import LONG
from tests.tune.tiny import tiny_config

RULES = ("linear", "ntk", "dynamic", "yarn", "llama3")


def quiet(line):
    """Print nothing."""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    small = tiny_config(folder, head_dim=16, heads=2, steps=10)
    text = (folder / "text.py",)
    return StudyConfig(
        name="family",
        parents=(Pretraining("own", small),),
        grid=(
            Grid((8000.0,), (64,), evaluate_at=300),
            Grid(lengths=(64,), scaling=tuple(Scaling(rule, 2) for rule in RULES)),
            Grid(untrained=(Scaling("yarn", 2),)),
        ),
        tune=Tuning(steps=2, tokens=128, text=text, accumulate=2, gradient_checkpointing=True),
        evaluate=Evaluation(sequences=2, least=256, reach=1.5, text=text, trials=1),
        capture=Capturing(reach=1.5, rows=4),
    )


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    return run_study(config, tmp_path_factory.mktemp("finished"), say=quiet)


@pytest.fixture(scope="module")
def table(finished):
    return xr.load_dataset(finished.folder / "table.h5", engine="h5netcdf")


def test_a_parent_is_pretrained_once_with_its_own_shape_and_measured_untuned(finished, config, table):
    model, row = finished.folder / "parents" / "own", table.sel(model="own")
    assert json.loads((model / "config.json").read_text())["head_dim"] == 16
    assert not row.tuned
    assert float(row.predicted) == predict(model).predicted_limit
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*.safetensors")}
    run_study(config, finished.folder, say=quiet)
    assert {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*.safetensors")} == before


def test_a_scaled_model_has_the_limit_that_its_checkpoint_predicts_and_no_part_in_the_law(finished, table):
    scaled = table.isel(model=np.flatnonzero(table.rule != "none"))
    assert set(scaled.rule.values) == {f"{rule} 2" for rule in RULES}
    assert scaled.model.values[scaled.tuned.values == 0].tolist() == ["own-yarn2-untrained"]
    assert not scaled.past_critical_base.any()
    for name in scaled.model.values:
        row, folder = scaled.sel(model=name), finished.folder / "cells" / name
        with open_capture(folder / "evaluation.h5") as evaluation:
            length = int(evaluation.attrs["length"])  # at which a dynamic rule is taken
        predicted = predict(folder / "model", target_len=length, retrieval=False)
        assert float(row.predicted) == predicted.predicted_limit
        assert float(row.base) == predicted.base


def test_lengths_are_fixed_where_the_grid_says_and_planned_before_the_model_is_there(
    finished, config, tmp_path
):
    for cell in list_cells(config):
        with open_capture(finished.folder / "cells" / cell.name / "evaluation.h5") as evaluation:
            length = int(evaluation.attrs["length"])
        assert length == plan_evaluation(cell, config, tmp_path / "nothing").length
        assert (length == 300) == (cell.evaluate_at is not None)


def test_the_table_says_what_each_capture_shows_of_drift(finished, config, table):
    for cell in list_cells(config):
        row, folder = table.sel(model=cell.name), finished.folder / "cells" / cell.name
        with open_capture(folder / "capture.h5") as capture:
            drift, spec = measure_drift(capture).drift.values, capture.spec()
            lag = capture["scores/mean"].lag.values
            stop = np.append(lag[1:], int(capture.attrs["length"]))
            unseen = capture.training.split_bins(lag, stop)[1][0]
            onset = float(measure_onset_pair(capture).model_onset_pair)
        assert float(row.rotary_dim) == 16
        np.testing.assert_allclose(row.period, 2 * np.pi / spec.inv_freq[0])
        for pair in range(8):
            heads = [drift[layer, head, pair] for layer, head in np.ndindex(drift.shape[:2])]
            mean = pytest.approx(sum(heads) / len(heads), nan_ok=True)
            assert float(row.drift.sel(pair=pair)) == mean
            assert np.isfinite(heads).all() == unseen[pair].any()
        np.testing.assert_equal(float(row.onset_pair), onset)
    assert (table.cpu_seconds > 0.1).all()
    assert "rotary_dim" in (finished.folder / "table.csv").read_text()


def test_a_parent_of_another_kind_is_tuned_and_measured_on_its_own_text(config, tmp_path):
    (tmp_path / "mine.txt").write_text("".join(f"line {n} of a text\n" for n in range(1000)))
    shape = {"family": "gpt_neox", "partial_rotary_factor": 0.5, "width": 64, "head_dim": 32, "heads": 2}
    run = replace(config.parents[0].run, text=(tmp_path / "mine.txt",), **shape)
    parent = Pretraining("neox", run, heldout=(tmp_path / "mine.txt",))
    study = replace(config, parents=(parent,), tune=replace(config.tune, text=()),
                    grid=(Grid(reaches=(2.0,)),))  # fmt: skip
    result = run_study(study, tmp_path / "runs", say=quiet)
    digest = hashlib.sha256((tmp_path / "mine.txt").read_bytes()).hexdigest()
    for folder in (tmp_path / "runs/parents/neox", *tmp_path.glob("runs/cells/neox-*/model")):
        assert json.loads((folder / "config.json").read_text())["model_type"] == "gpt_neox"
        assert read_metadata(folder).text_hash == digest
    assert result.table.rotary_dim.values.tolist() == [16, 16]
    for cell in list_cells(study):
        for plan in (plan_evaluation, plan_capture):
            assert plan(cell, study, tmp_path / "runs").text == parent.heldout


def test_every_cell_is_captured_at_its_own_length(finished, config):
    for cell in list_cells(config):
        folder = finished.folder / "cells" / cell.name
        with open_capture(folder / "capture.h5") as capture:
            model = finished.folder / "parents" / cell.name if cell.is_parent else folder / "model"
            limit = predict(model).predicted_limit or 64
            assert capture.attrs["length"] == int(np.ceil(1.5 * limit / 256)) * 256
            assert capture.sizes["row"] == 4


def test_a_capture_that_is_missing_is_made_without_evaluating_again(finished, config):
    cell = finished.folder / "cells" / "own-b8000-t64-s0"
    (cell / "capture.h5").unlink()
    before = (cell / "evaluation.h5").stat().st_mtime_ns
    cost = json.loads((cell / "cost.json").read_text())["cpu_seconds"]
    run_study(config, finished.folder, say=quiet)
    assert (cell / "capture.h5").exists()
    assert (cell / "evaluation.h5").stat().st_mtime_ns == before
    assert json.loads((cell / "cost.json").read_text())["cpu_seconds"] > cost


def test_what_a_kill_left_of_the_folder_of_a_finished_capture_is_removed(finished, config):
    cell = finished.folder / "cells" / "own-b8000-t64-s0"
    before = (cell / "capture.h5").stat().st_mtime_ns
    (cell / "capture.h5.partial").mkdir()
    (cell / "capture.h5.partial" / "loss-0000.h5").touch()
    run_study(config, finished.folder, say=quiet)
    assert not (cell / "capture.h5.partial").exists()
    assert (cell / "capture.h5").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"capture": Capturing(length=512)}, "captures made otherwise"),
        ({"grid": (Grid((8000.0,), (64,), evaluate_at=301),)}, "was evaluated at 300 tokens"),
        ({"grid": (Grid((8000.0,), (64,)),)}, "at 300 tokens, and family asks for by the evaluate section"),
    ],
)
def test_a_folder_made_otherwise_is_refused(finished, config, changes, words):
    with pytest.raises(ConfigError, match=words):
        run_study(replace(config, **changes), finished.folder, say=quiet)


def test_a_parent_pretrained_otherwise_is_refused(finished, config):
    own = config.parents[0]
    with pytest.raises(ConfigError, match="parent own pretrained otherwise"):
        run_study(
            replace(config, parents=(Pretraining("own", replace(own.run, steps=11)),)),
            finished.folder,
            say=quiet,
        )


def test_a_folder_of_an_earlier_version_is_taken_up(config, tmp_path):
    plain = replace(config, grid=(Grid((8000.0,), (64,)),), capture=None)
    plain = replace(plain, tune=Tuning(steps=2, tokens=128, text=config.tune.text))
    plain = replace(plain, evaluate=replace(plain.evaluate, trials=8))
    run_study(plain, tmp_path, say=quiet)
    record = json.loads((tmp_path / "study.json").read_text())
    kept = {"tune": ("steps", "tokens", "lr", "text"), "evaluate": ("sequences", "least", "reach", "text")}
    earlier = {section: {name: record[section][name] for name in names} for section, names in kept.items()}
    later = ("family", "partial_rotary_factor")
    own = {name: value for name, value in record["parents"]["own"].items() if name not in later}
    earlier["parents"] = {"own": own}
    (tmp_path / "study.json").write_text(json.dumps(earlier))
    said = []
    run_study(plain, tmp_path, say=said.append)
    assert said[0] == "family: 2 cells, 2 of them finished before"


def test_a_parent_that_cannot_be_made_is_named_and_not_tried_again_for_each_cell(config, tmp_path):
    text = tmp_path / "short.txt"
    text.write_text("too short")
    bad = replace(config.parents[0].run, text=(text,))
    study = replace(config, parents=(Pretraining("bad", bad), *config.parents), grid=config.grid[:1])
    said = []
    with pytest.raises(Exception, match="2 of 4 cells failed, first bad: the text has 9 tokens"):
        run_study(replace(study, capture=None), tmp_path / "runs", say=said.append)
    assert said[-1] == "4 of 4: bad-b8000-t64-s0 failed: its parent bad could not be made."
    assert (tmp_path / "runs/cells/own-b8000-t64-s0/evaluation.h5").exists()


@pytest.mark.skipif(not LONG, reason="make long")
def test_ray_pretrains_a_parent_before_its_cells_need_it(config, tmp_path, monkeypatch, request):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # by default its tasks wait for whatever else runs
    request.addfinalizer(ray.shutdown)
    wide = Pretraining("wide", replace(config.parents[0].run, head_dim=32))
    study = replace(config, parents=(wide,), grid=config.grid[:1], capture=None)
    table = run_study(study, tmp_path / "runs", engine="ray", say=quiet).table
    assert table.model.values.tolist() == ["wide", "wide-b8000-t64-s0"]
    assert json.loads((tmp_path / "runs/parents/wide/config.json").read_text())["head_dim"] == 32
