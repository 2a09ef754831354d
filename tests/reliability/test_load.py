"""Many readers at once, beside a capture that grows; and a folder of many captures."""

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from ropediag.store import CaptureWriter
from tests.app.conftest import CAPTURES
from tests.reliability.load import Log, read_together, run_dashboard
from tests.store.synthetic import make_attributes, make_header, make_layer
from tests.trials import Trials, long_or, tell

READERS, SECONDS = long_or((50, 300.0), (12, 12.0))
CAPTURE_COUNT = long_or(1000, 100)


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


@pytest.mark.timeout(900)
def test_many_readers_beside_a_growing_capture_meet_no_error(folder: Path) -> None:
    stop, memory = threading.Event(), []
    names = [path.name for path in folder.glob("example-*.h5") if "study" not in path.name]
    with run_dashboard(folder) as (port, number):
        others = [
            threading.Thread(target=grow, args=(folder / "grows.h5", stop)),
            threading.Thread(target=watch, args=(psutil.Process(number), stop, memory)),
        ]
        for thread in others:
            thread.start()
        time.sleep(1.0)
        log = read_together(port, [*names, "grows.h5"], READERS, SECONDS)
        stop.set()
        for thread in others:
            thread.join()
    with Trials(
        f"answers to {READERS} readers at once, for {SECONDS:.0f} s, beside a capture that grows"
    ) as all:
        all.count(len(log.seconds), log.errors)
    late = np.array(memory[len(memory) // 3 :])
    slope = np.polyfit(late[:, 0], late[:, 1], 1)[0]
    tell(f"{describe(log)}; memory {late[0, 1]:.0f} MiB after a third of the time, {late[-1, 1]:.0f} at the end, "
         f"{slope:+.1f} MiB a minute")  # fmt: skip


def describe(log: Log) -> str:
    times = np.array([seconds for _, seconds in log.seconds])
    callbacks = np.array([seconds for address, seconds in log.seconds if address.startswith("/_dash")])
    return (
        f"p50 {1000 * np.quantile(times, 0.5):.0f} ms, p95 {1000 * np.quantile(times, 0.95):.0f} ms of "
        f"{len(times):,} answers, p95 {1000 * np.quantile(callbacks, 0.95):.0f} ms of {len(callbacks):,} callbacks"
    )
