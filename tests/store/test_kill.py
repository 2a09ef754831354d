"""Real kills and a really full disk: nothing that was declared safe is lost, nothing is left behind."""

import os
import random
import shutil
import signal
import time

import numpy as np
import pytest

from ropediag.store import open_capture
from tests.disks import fill_disk, mount_disk
from tests.processes import processes, warm_up
from tests.store import victim
from tests.store.synthetic import make_loss
from tests.trials import Trials, long_or


def start(target, *arguments):
    """Start a writing process; gives it and the channel on which it declares."""
    here, there = processes.Pipe(duplex=False)
    process = processes.Process(target=target, args=(arguments[0], there, *arguments[1:]))
    process.start()
    there.close()
    return process, here


def declared(channel):
    """Everything the process said before its end."""
    said = []
    try:
        while True:
            said.append(channel.recv())
    except EOFError:
        channel.close()
    return said


def contents(path):
    with open_capture(path) as capture:
        return {name: capture.values(name) for name in capture.variables} | capture.attrs


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The final numbers of a run that nobody disturbs, how many operations it takes, and how long."""
    path = tmp_path_factory.mktemp("reference") / "run.h5"
    warm_up()
    begun = time.perf_counter()
    process, channel = start(victim.live, path)
    said = declared(channel)
    process.join()
    assert process.exitcode == 0
    return contents(path), said[-1][1], time.perf_counter() - begun


def check_nothing_lost(path, said, final):
    """Every declared unit is there with its numbers; the finished name never holds a part."""
    if path.exists():
        np.testing.assert_equal(contents(path), final)
        return
    if not said:
        return
    with open_capture(path) as capture:
        for sequence, layer in said:
            if layer is None:
                for name, values in make_loss(sequence).items():
                    np.testing.assert_array_equal(capture.values(name)[sequence], values)
            else:
                assert (sequence, layer) not in capture.missing_layers
                expected = victim.make_unit(sequence, layer)
                found = capture.values("rows/entropy")[sequence, layer]
                np.testing.assert_array_equal(found, expected["rows/entropy"])
                assert capture.values("scores/replicate_count")[8 * sequence, layer].sum() > 0


def check_resumes(path, final):
    victim.write_all(path, lambda unit: None)
    np.testing.assert_equal(contents(path), final)
    assert os.listdir(path.parent) == ["run.h5"]


def test_a_kill_at_any_operation_loses_nothing(tmp_path, reference):
    final, operations, _ = reference
    random.seed(11)
    moments = ("before", "after", "amid")
    some = [
        *range(1, 5),
        *random.sample(range(5, operations - 10), 11),
        *range(operations - 10, operations + 1),
    ]
    every = [(number, when) for number in range(1, operations + 1) for when in moments]
    few = [(number, moments[trial % 3]) for trial, number in enumerate(some)]
    with Trials("writing a capture, killed before, after and amid each operation on the disk") as trials:
        for trial, (number, when) in enumerate(long_or(every, few)):
            path = tmp_path / str(trial) / "run.h5"
            path.parent.mkdir()
            with trials.one():
                process, channel = start(victim.live, path, number, when)
                said = declared(channel)
                process.join()
                assert process.exitcode == -signal.SIGKILL
                check_nothing_lost(path, said, final)
                check_resumes(path, final)


def test_kills_at_random_moments_lose_nothing(tmp_path, reference):
    final, _, seconds = reference
    random.seed(12)
    killed = 0
    with Trials("writing a capture, killed at random moments") as trials:
        for trial in range(long_or(60, 14)):
            path = tmp_path / str(trial) / "run.h5"
            path.parent.mkdir()
            with trials.one():
                process, channel = start(victim.live, path)
                time.sleep(random.uniform(0, seconds))
                process.kill()
                said = [unit for unit in declared(channel) if unit[0] != "operations"]
                process.join()
                killed += process.exitcode != 0
                check_nothing_lost(path, said, final)
                check_resumes(path, final)
    assert killed > 0


@pytest.fixture
def small_disk(tmp_path):
    with mount_disk(tmp_path / "disk", 3) as place:
        yield place


@pytest.mark.parametrize("believe_in_room", [False, True])
def test_a_full_disk_is_a_clean_error_and_costs_nothing(small_disk, reference, believe_in_room):
    """Full at the first unit, at a later one, or in the final file, whose check for room may be wrong."""
    final, _, _ = reference
    outcomes, folder = set(), small_disk / "capture"
    rooms = long_or(range(12, 164, 4), (20, 60, 110, 130, 140, 150, 160))  # KiB
    with Trials(
        f"writing a capture to a full disk, room {'believed in' if believe_in_room else 'checked'}"
    ) as trials:
        for room in rooms:
            folder.mkdir()
            ballast = fill_disk(small_disk, 1024 * room)
            with trials.one():
                process, channel = start(victim.fill, folder / "run.h5", believe_in_room)
                *said, message = declared(channel)
                process.join()
                assert process.exitcode == 0
                assert "no space left to write" in message
                assert "MiB are free" in message
                outcomes.add((len(said), "not saved" in message))
                assert not (folder / "run.h5").exists()
                assert not list(folder.glob("*/.*"))
                if said:
                    check_nothing_lost(folder / "run.h5", said, final)
                ballast.unlink()
                check_resumes(folder / "run.h5", final)
            ballast.unlink(missing_ok=True)
            shutil.rmtree(folder)
    assert len(outcomes) > 2
    assert (6, False) in outcomes  # all units there, the final file not
