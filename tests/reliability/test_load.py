"""Many readers at once, beside a capture that grows; and a folder of many captures."""

import http.client
import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from ropediag.app.catalog import Catalog
from ropediag.store import CaptureWriter
from tests.app.conftest import CAPTURES
from tests.reliability.load import Log, ask, fill_in, find_callback, read_together, run_dashboard
from tests.store.synthetic import make_attributes, make_header, make_layer, write_capture
from tests.trials import LONG, Trials, long_or, tell

READERS, SECONDS = long_or((50, 900.0), (12, 12.0))
SETTLED = 2 / 3  # share of the time after which the memory of the server is full of results
CAPTURES_COUNT = long_or(1000, 60)
STEADY = 1.0  # MiB a minute
COSTS = 0.1  # seconds of the processor an answer may take, mean over all


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in CAPTURES.glob("example-*.h5"):
        shutil.copy(path, tmp_path)
    return tmp_path


def grow(path: Path, stop: threading.Event) -> None:
    """Write a capture, one layer every two seconds, and another when it is whole."""
    header, number = make_header(sequences=2, layers=range(40), heads=4, pairs=16), 0
    while not stop.is_set():
        with CaptureWriter.create(path, header, make_attributes(), force=True) as writer:
            for sequence, layer in np.ndindex(2, 40):
                writer.write_layer(sequence, layer, make_layer(header, sequence, layer))
                if stop.wait(2.0):
                    return
            writer.finish({"seconds": 1.0})
        number += 1


def watch(process: psutil.Process, stop: threading.Event, seen: list[tuple[float, float]]) -> None:
    """Note the memory of a process every half second: minutes, MiB."""
    begun = time.monotonic()
    while not stop.wait(0.5):
        seen.append(((time.monotonic() - begun) / 60, process.memory_info().rss / 2**20))


@pytest.mark.timeout(1800)
def test_many_readers_beside_a_growing_capture_meet_no_error(folder: Path) -> None:
    stop, memory = threading.Event(), []
    names = [name for name, entry in Catalog(folder).scan().items() if entry.kind == "capture"]
    with run_dashboard(folder) as (port, number):
        others = [
            threading.Thread(target=grow, args=(folder / "grows.h5", stop)),
            threading.Thread(target=watch, args=(psutil.Process(number), stop, memory)),
        ]
        for thread in others:
            thread.start()
        time.sleep(1.0)
        begun = count_processor(number)
        log = read_together(port, [*names, "grows.h5"], READERS, SECONDS)
        worked = count_processor(number) - begun
        stop.set()
        for thread in others:
            thread.join()
    slope, answer = describe(log, memory, worked)
    with Trials(
        f"answers to {READERS} readers at once for {SECONDS:.0f} s, beside a growing capture"
    ) as trials:
        trials.count(len(log.seconds), log.errors)
    if LONG:
        assert answer < COSTS
        assert abs(slope) < STEADY


def count_processor(number: int) -> float:
    """Count the processor seconds of a process so far."""
    times = psutil.Process(number).cpu_times()
    return times.user + times.system


def describe(log: Log, memory: list[tuple[float, float]], worked: float) -> tuple[float, float]:
    """Tell what the readers met; ``worked`` is the server's processor time, seconds.

    Returns
    -------
    how fast the memory grew once it had settled, MiB a minute; the server's processor seconds for an answer
    """
    times = np.array([seconds for _, seconds in log.seconds])
    callbacks = np.array([seconds for address, seconds in log.seconds if address.startswith("/_dash")])
    late = np.array(memory[int(SETTLED * len(memory)) :])
    slope = float(np.polyfit(late[:, 0], late[:, 1], 1)[0])
    half, most, called = (
        1000 * np.quantile(*one) for one in ((times, 0.5), (times, 0.95), (callbacks, 0.95))
    )
    tell(
        f"{READERS} readers: {len(times):,} answers, p50 {half:.0f} ms, p95 {most:.0f} ms; among them "
        f"{len(callbacks):,} callbacks of Dash, p95 {called:.0f} ms; {1000 * worked / len(times):.0f} ms of "
        f"the processor an answer; memory {late[0, 1]:.0f} MiB after two "
        f"thirds of the time, {late[-1, 1]:.0f} MiB at the end, {slope:+.1f} MiB a minute"
    )
    return slope, worked / len(times)


@pytest.mark.timeout(900)
def test_a_folder_of_many_captures_is_listed_at_once(tmp_path: Path) -> None:
    first = write_capture(tmp_path / "0.h5")
    for number in range(1, CAPTURES_COUNT):
        shutil.copy(first, tmp_path / f"{number}.h5")
    with run_dashboard(tmp_path) as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        callback = find_callback(connection, '..{"panel":"captures","type":"grid"}.rowData')
        question = json.dumps(fill_in(callback, {}))
        rows, took, begun = [], [], time.monotonic()
        while len(took) < 3 or any(row["state"] == "not read yet" for row in rows):
            log = Log()
            rows = ask(connection, "POST", "/_dash-update-component", log, question)
            rows = json.loads(rows)["response"]['{"panel":"captures","type":"grid"}']["rowData"]
            assert not log.errors
            assert len(rows) == CAPTURES_COUNT
            if LONG and not took:  # the first answer does not wait until all are read
                assert any(row["state"] == "not read yet" for row in rows)
            took.append(log.seconds[0][1])
            time.sleep(0.5)
    tell(
        f"list of {CAPTURES_COUNT:,} captures: {took[0]:.2f} s at first, {max(took):.2f} s at most, all read "
        f"after {time.monotonic() - begun:.0f} s"
    )
