"""Real kills of tuning runs and studies: no final name holds a part of a file, and the rerun ends well."""

import json
import random
import time

import pytest
from safetensors import safe_open

from ropediag.store import open_capture, open_study
from ropediag.tune.metadata import METADATA_NAME, hash_weights
from ropediag.tune.pretrain import pretrain_model
from ropediag.tune.trainer import UNFINISHED
from tests.processes import kill, processes, warm_up
from tests.trials import Trials, long_or
from tests.tune import victim
from tests.tune.tiny import tiny_config


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    warm_up()
    return pretrain_model(tiny_config(tmp_path_factory.mktemp("parent")), say=victim.quiet)


def undisturbed(run, parent, out):
    """Run to the end; gives the seconds it took."""
    begun = time.monotonic()
    process = processes.Process(target=run, args=(parent, out))
    process.start()
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - begun


def kill_within(run, parent, out, seconds):
    """Start a run and kill it at a random moment."""
    process = processes.Process(target=run, args=(parent, out))
    process.start()
    time.sleep(random.uniform(0, seconds))
    return kill(process)


def files_of(folder):
    """Every file in a folder and below, hidden ones too; but what a cell cost, which a kill may lose."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "cost.json")
    return {path.relative_to(folder).as_posix() for path in files}


def read_table(folder):
    """The table of a study without what its models cost, which is never the same twice."""
    return open_study(folder / "table.h5").drop_vars("cpu_seconds")


def check_model(out, right):
    """What is there under its final name is whole, and a record is there only beside its weights."""
    weights = out / "model.safetensors"
    if weights.exists():
        with safe_open(weights, "pt") as file:
            assert len(list(file.keys())) > 3
        assert hash_weights(out) == right
    if (out / "config.json").exists():
        json.loads((out / "config.json").read_text())
    if (out / METADATA_NAME).exists():
        assert json.loads((out / METADATA_NAME).read_text())["weights_hash"] == right


def test_tuning_killed_at_random_moments_goes_on_to_the_same_weights(parent, tmp_path):
    whole = tmp_path / "whole"
    seconds = undisturbed(victim.tune, parent, whole)
    right, random_kills = hash_weights(whole), 0
    random.seed(21)
    with Trials("tuning runs, killed at random moments") as trials:
        for number in range(long_or(40, 2)):
            out = tmp_path / str(number)
            with trials.one():
                random_kills += kill_within(victim.tune, parent, out, seconds)
                check_model(out, right)
                if number % 2 and out.exists():  # another kill, of the run that goes on
                    random_kills += kill_within(victim.tune, parent, out, seconds)
                    check_model(out, right)
                undisturbed(victim.tune, parent, out)
                assert (out / METADATA_NAME).exists()
                check_model(out, right)
                assert files_of(out) == files_of(whole)
                assert not (out / UNFINISHED).exists()
    assert random_kills


def cells_of(folder):
    """The measurements of a study that are there, and when they were written."""
    found = [*folder.glob("cells/*/evaluation.h5"), *folder.glob("cells/*/capture.h5")]
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in found}


def check_study(folder, parent, rights):
    """Every measurement that is there can be read, every model that calls itself made is the right one."""
    if (folder / "study.json").exists():
        json.loads((folder / "study.json").read_text())
    for name in cells_of(folder):
        with open_capture(folder / name) as capture:
            assert capture.status == "complete"
    for name, right in rights.items():
        check_model(folder / "cells" / name / "model", right)


def test_a_study_killed_at_random_moments_is_finished_by_the_next_run(parent, tmp_path):
    whole = tmp_path / "whole"
    seconds = undisturbed(victim.study, parent, whole)
    rights = {path.parent.name: hash_weights(path) for path in whole.glob("cells/*/model")}
    assert rights
    random.seed(22)
    with Trials("studies, killed at random moments") as trials:
        for number in range(long_or(30, 2)):
            out = tmp_path / str(number)
            with trials.one():
                kill_within(victim.study, parent, out, seconds)
                check_study(out, parent, rights)
                before = cells_of(out)
                undisturbed(victim.study, parent, out)
                check_study(out, parent, rights)
                after = cells_of(out)
                assert {name: after[name] for name in before} == before
                assert files_of(out) == files_of(whole)
                assert read_table(out).equals(read_table(whole))
