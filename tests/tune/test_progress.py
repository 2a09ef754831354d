"""Progress of training: from the start, by time as well as by steps, and reported where the user says."""

import io
import signal
from types import SimpleNamespace

import pytest
from rich.console import Console

from ropediag.errors import ConfigError
from ropediag.tune import config as config_module
from ropediag.tune.config import REPORTERS, PretrainConfig
from ropediag.tune.pretrain import pretrain_model
from ropediag.tune.progress import PERIOD, TrainingProgress
from ropediag.tune.trainer import UNFINISHED
from ropediag.tune.tune import tune_model
from ropediag.tune.tune_config import TuneConfig
from tests.tune.board import read_scalars
from tests.tune.tiny import tiny_config


def run_steps(seconds_a_step, steps, first=0, log_at=()):
    """The lines of a run whose steps take this long, by a clock that moves with them."""
    now, said = [100.0], []
    progress = TrainingProgress(said.append, Console(force_terminal=False), clock=lambda: now[0])
    state = SimpleNamespace(global_step=first, max_steps=steps)
    progress.on_train_begin(None, state, None)
    for step in range(first + 1, steps + 1):
        now[0] += seconds_a_step
        state.global_step = step
        progress.on_step_end(None, state, None)
        if step in log_at:
            progress.on_log(None, state, None, logs={"loss": 2.5})
    return said


def test_a_run_of_hours_says_a_line_at_once_and_at_least_every_30_seconds():
    assert PERIOD + 10 <= 30, "a step of ten seconds may come between"
    said = run_steps(10, 100)
    assert said[0] == "training: 100 steps"
    assert said[1:3] == ["step 2 of 100, about 16 min left", "step 4 of 100, about 16 min left"]
    assert len(said) == 1 + 50
    assert said[-2] == "step 98 of 100, about 20 s left"


def test_a_run_of_seconds_says_only_its_losses():
    assert run_steps(0.1, 40, log_at=(20, 40)) == [
        "training: 40 steps",
        "step 20 of 40, loss 2.500 nats",
        "step 40 of 40, loss 2.500 nats",
    ]


def test_a_run_that_goes_on_counts_its_own_steps_for_the_time_left():
    assert run_steps(20, 93, first=90)[1:] == [
        "step 91 of 93, about 40 s left",
        "step 92 of 93, about 20 s left",
        "step 93 of 93, about 0 s left",
    ]


@pytest.fixture
def _interruptible():
    """Python's own handler of Ctrl-C, which a shell takes from what it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_a_run_stopped_before_it_saved_anything_does_not_block_the_same_command(tmp_path):
    config = tiny_config(tmp_path, steps=2)

    def stop(line):
        if line.startswith("training"):
            assert (config.out / UNFINISHED).is_dir()
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        pretrain_model(config, say=stop)
    assert not (config.out / UNFINISHED).exists()
    (config.out / UNFINISHED).mkdir(parents=True, exist_ok=True)  # as a killed run leaves it
    assert pretrain_model(tiny_config(tmp_path, steps=2), say=lambda line: None) == config.out


def test_a_folder_that_holds_something_to_go_on_from_still_asks_for_resume(tmp_path):
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / UNFINISHED / "settings.json").write_text("{}")
    with pytest.raises(ConfigError, match="go on with an interrupted run with --resume"):
        PretrainConfig(out=tmp_path)


@pytest.mark.parametrize("name", REPORTERS)
def test_a_reporter_is_one_that_the_trainer_knows_and_a_missing_package_is_named(tmp_path, monkeypatch, name):
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    assert name in INTEGRATION_TO_CALLBACK
    monkeypatch.setattr(config_module.importlib.util, "find_spec", lambda module: None)
    for make in (PretrainConfig, lambda **given: TuneConfig(model="demo", **given)):
        with pytest.raises(ConfigError, match=f"--report-to {name} needs its package: pip install "):
            make(out=tmp_path / "new", report_to=(name,))


def test_pretraining_and_tuning_report_their_loss_to_tensorboard(tmp_path):
    parent = pretrain_model(tiny_config(tmp_path, steps=2, report_to=("tensorboard",)), say=lambda line: None)
    said = []
    tuned = tune_model(
        TuneConfig(
            model=str(parent), out=tmp_path / "tuned", text=(tmp_path / "text.py",), steps=2, batch=4,
            report_to=("tensorboard",),
        ),
        say=said.append,
    )  # fmt: skip
    for folder in (parent, tuned):
        losses = {step: value for tag, step, value in read_scalars(folder / "runs") if tag == "train/loss"}
        assert set(losses) == {1, 2}
        assert not (folder / UNFINISHED).exists()
    assert said[0].startswith("computing in ")
    assert said[1:3] == [
        "trained: 64 tokens at base 500, pretraining (from ropediag.json)",
        "RoPE unchanged, as no other base and no scaling rule is given: a control run",
    ]


def test_a_terminal_shows_a_bar_from_the_start():
    console = Console(force_terminal=True, width=100, record=True, file=io.StringIO())
    said = []
    progress = TrainingProgress(said.append, console)
    state = SimpleNamespace(global_step=0, max_steps=8000)
    progress.on_train_begin(None, state, None)
    progress.close()
    assert "0/8000" in console.export_text()
    assert said == []
