"""A run that was killed goes on to the weights that it would have had."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ropediag.errors import ConfigError
from ropediag.tune.metadata import hash_weights
from ropediag.tune.pretrain import pretrain_model
from ropediag.tune.trainer import UNFINISHED, newest_checkpoint
from ropediag.tune.tune import tune_model
from ropediag.tune.tune_config import TuneConfig
from tests.trials import only_long
from tests.tune.tiny import tiny_config

START = "import torch; torch.set_num_threads(1); from ropediag.cli import main; main()"


def quiet(line):
    """Say nothing."""


def kill_after(command, unfinished, checkpoint):
    """Start a run and kill it as soon as it begins to write a checkpoint."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", START, *command.split()[1:]],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 1500
    while not (unfinished / checkpoint).exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("checkpoint", [only_long("checkpoint-20"), "checkpoint-40"])
def test_a_killed_pretraining_goes_on_to_the_same_weights(tmp_path, checkpoint):
    whole = pretrain_model(tiny_config(tmp_path, steps=60, out=tmp_path / "whole"), say=quiet)
    config = tiny_config(tmp_path, steps=60, save_every=20)
    kill_after(config.command_line() + " --save-every 20", config.out / UNFINISHED, checkpoint)
    said = []
    resumed = pretrain_model(tiny_config(tmp_path, steps=60, save_every=20, resume=True), say=said.append)
    assert hash_weights(resumed) == hash_weights(whole)
    assert not (resumed / UNFINISHED).exists()
    expected = {"checkpoint-20": (None, "20"), "checkpoint-40": ("20", "40")}[checkpoint]
    going_on = [line.split()[-1] for line in said if line.startswith("going on")]
    assert (going_on or [None])[0] in expected


def test_a_killed_tuning_goes_on_to_the_same_weights(tmp_path):
    parent = pretrain_model(tiny_config(tmp_path), say=quiet)
    settings = {
        "model": str(parent),
        "base": 8000.0,
        "text": (tmp_path / "text.py",),
        "steps": 60,
        "batch": 4,
    }
    whole = tune_model(TuneConfig(out=tmp_path / "whole", **settings), say=quiet)
    config = TuneConfig(out=tmp_path / "tuned", save_every=20, **settings)
    kill_after(config.command_line() + " --save-every 20", config.out / UNFINISHED, "checkpoint-40")
    resumed = tune_model(
        TuneConfig(out=tmp_path / "tuned", save_every=20, resume=True, **settings), say=quiet
    )
    assert hash_weights(resumed) == hash_weights(whole)


def test_a_checkpoint_cut_short_is_passed_over(tmp_path):
    for step, state in ((5, "{}"), (10, "{}"), (15, '{"global_st'), (20, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert newest_checkpoint(tmp_path / "nothing") is None


def test_a_run_begun_with_other_settings_is_not_gone_on_with(tmp_path):
    unfinished = tmp_path / "parent" / UNFINISHED
    unfinished.mkdir(parents=True)
    (unfinished / "settings.json").write_text('{"lr": 1}')
    with pytest.raises(ConfigError, match="begun with other settings"):
        pretrain_model(tiny_config(tmp_path, save_every=10, resume=True), say=quiet)
