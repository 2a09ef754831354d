"""Real kills of a real capture: what was measured stays, and the resumed file is the undisturbed one."""

import os
import random
import time

import numpy as np
import pytest
import torch

from ropediag.capture import capture_checkpoint, capture_model, run
from ropediag.errors import CaptureError
from ropediag.store import open_capture
from tests.capture import victim
from tests.families import tiny_model, tokens
from tests.processes import kill, processes
from tests.trials import Trials, long_or

SEQUENCES, LAYERS = 2, 3
UNITS = SEQUENCES * (LAYERS + 1)
MAY_DIFFER = {"created", "seconds"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A saved model with its tokens, in a folder."""
    folder = tmp_path_factory.mktemp("home")
    small_model().save_pretrained(folder / "model")
    np.save(folder / "ids.npy", torch.cat([tokens(60, seed) for seed in range(SEQUENCES)]).numpy())
    return folder


def small_model(seed=0):
    return tiny_model(
        "llama", seed, num_hidden_layers=LAYERS, num_attention_heads=2, num_key_value_heads=1, hidden_size=16
    )


@pytest.fixture(scope="module")
def undisturbed(home, tmp_path_factory):
    """What is in the file of a run that nobody kills."""
    path = tmp_path_factory.mktemp("undisturbed") / "run.h5"
    process = start(home, path)
    process.join()
    assert process.exitcode == 0
    return contents(path)


def start(home, path):
    process = processes.Process(target=victim.live, args=(home, path))
    process.start()
    return process


def contents(path):
    with open_capture(path) as capture:
        found = {name: capture.values(name) for name in capture.variables} | capture.attrs
    return {name: values for name, values in found.items() if name not in MAY_DIFFER}


def units(path):
    """How many units are on the disk; -1 without the folder, which goes when the capture is whole."""
    try:
        return sum(name.startswith("l") for name in os.listdir(f"{path}.partial"))
    except FileNotFoundError:
        return -1


def check_nothing_lost(path, final):
    """The partial folder opens, and each layer in it has the numbers of the undisturbed run."""
    assert not path.exists()
    if not (path.with_name("run.h5.partial") / "header.h5").exists():
        return 0  # killed before it had begun
    with open_capture(path) as capture:
        assert capture.status == "partial"
        there = {(s, n) for s in range(SEQUENCES) for n in range(LAYERS)} - set(capture.missing_layers)
        for name in ("rows/entropy", "scores/lag_mean_min", "partial/past_mean", "vectors/key_norm"):
            for place in there:
                np.testing.assert_array_equal(capture.values(name)[place], final[name][place])
        for layer in range(LAYERS):
            if all((sequence, layer) in there for sequence in range(SEQUENCES)):
                np.testing.assert_array_equal(
                    capture.values("scores/mean")[layer], final["scores/mean"][layer]
                )
        losses = set(range(SEQUENCES)) - set(capture.missing_losses)
        for sequence in losses if "loss/nll" in capture.variables else ():
            np.testing.assert_array_equal(capture.values("loss/nll")[sequence], final["loss/nll"][sequence])
    return len(there)


def check_resumes(home, path, final, done, monkeypatch):
    """Going on measures what is missing and nothing else, and ends with the very same file."""
    measured = []

    def measure(call, sequence, plan):
        measured.append((sequence, call.layer))
        return measure_layer(call, sequence, plan)

    measure_layer = run.measure_layer
    with monkeypatch.context() as patch:
        patch.setattr(run, "measure_layer", measure)
        capture_checkpoint(victim.make_config(home, path))
    assert len(set(measured)) == len(measured) == SEQUENCES * LAYERS - done
    np.testing.assert_equal(contents(path), final)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 7, UNITS])
def test_a_kill_after_any_unit_loses_nothing(home, undisturbed, tmp_path, monkeypatch, count):
    path = tmp_path / "run.h5"
    process = start(home, path)
    while units(path) < count:
        assert process.is_alive()
        time.sleep(0.001)
    assert kill(process)
    assert units(path) >= count
    done = check_nothing_lost(path, undisturbed)
    assert done >= count * LAYERS // (LAYERS + 1)
    check_resumes(home, path, undisturbed, done, monkeypatch)


def test_kills_at_random_moments_lose_nothing(home, undisturbed, tmp_path, monkeypatch):
    """The same capture, killed again and again, anywhere within a unit."""
    random.seed(5)
    with Trials("real captures, killed at random moments") as trials:
        for attempt in range(long_or(16, 1)):
            path, killed, done = tmp_path / str(attempt) / "run.h5", 0, 0
            path.parent.mkdir()
            while not path.exists() and killed < 5:
                goal = max(0, units(path)) + random.randint(0, 2)
                with trials.one():
                    process = start(home, path)
                    while units(path) < goal and process.is_alive():
                        time.sleep(0.001)
                    time.sleep(random.uniform(0, 4 * victim.PAUSE))
                    killed += kill(process)
                    if not path.exists():
                        done = check_nothing_lost(path, undisturbed)
            assert killed > 0
            if not path.exists():
                check_resumes(home, path, undisturbed, done, monkeypatch)
            np.testing.assert_equal(contents(path), undisturbed)


@pytest.fixture
def interrupted(tmp_path):
    """A capture that stopped after its first layer; gives how it was called."""
    ids, path = tokens(50), tmp_path / "run.h5"
    options = {"name": "small", "train_len": 20, "rows": 3}

    class Stop(run.Reporter):
        def layer_done(self, sequence, layer):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture_model(small_model(), ids, path, reporter=Stop(), **options)
    assert units(path) == 1
    return ids, path, options


@pytest.mark.parametrize(("changes", "difference"), [
    ({"rows": 4}, "rows 3 there, 4 now"),
    ({"seed": 7}, "seed 0 there, 7 now"),
    ({"rows": 4, "heads": (0,)}, r"heads None there, \[0\] now; rows 3 there, 4 now"),
])  # fmt: skip
def test_resuming_with_another_config_is_refused_naming_what_differs(interrupted, changes, difference):
    ids, path, options = interrupted
    with pytest.raises(CaptureError, match=f"begun with another config: {difference}"):
        capture_model(small_model(), ids, path, resume=True, **options | changes)
    assert units(path) == 1


def test_resuming_with_other_weights_or_tokens_is_refused(interrupted):
    ids, path, options = interrupted
    with pytest.raises(CaptureError, match="begun with another weight_fingerprint"):
        capture_model(small_model(seed=1), ids, path, resume=True, **options)
    with pytest.raises(CaptureError, match="begun with another text_hash"):
        capture_model(small_model(), tokens(50, seed=9), path, resume=True, **options)
    assert units(path) == 1


def test_an_interrupted_capture_is_neither_taken_over_nor_replaced_unasked(interrupted):
    ids, path, options = interrupted
    with pytest.raises(CaptureError, match=r"run.h5.partial exists.*--force.*--resume"):
        capture_model(small_model(), ids, path, **options)
    assert units(path) == 1
    capture_model(small_model(), ids, path, force=True, **options)
    assert os.listdir(path.parent) == ["run.h5"]
