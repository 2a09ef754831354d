"""Mutated files: each must end in a FormatError or give the numbers of the original, and cost little.

A mutant comes from a seed, so that one that fails can be made again. Mutants are read in processes of
their own, which may not take more than ``MEMORY`` bytes, nor ``SECONDS`` for one file; a process that dies
is a crash of the mutant it was at. ``sealed`` mutants are sealed anew, as someone would do who means harm:
their numbers may be others, and what stands between them and the process is HDF5 alone.
"""

import json
import resource
import select
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from ropediag.errors import RopediagError
from ropediag.store import open_capture
from ropediag.store.seal import SIZE, seal_file

MEMORY = 2**30
SECONDS = 5.0  # of processor time, one file
STARTING = 60.0  # of processor time, for a process to load
LOOK = 1.0  # seconds between two looks at a process that says nothing
ROOT = Path(__file__).parents[2]
GOOD = {"refused", "same", "other numbers, sealed"}


@dataclass
class Tally:
    """How mutants ended, and the seeds of those that did not end well."""

    outcomes: Counter = field(default_factory=Counter)
    failed: list[tuple[int, str]] = field(default_factory=list)

    def add(self, seed: int, outcome: str) -> None:
        self.outcomes[outcome] += 1
        if outcome not in GOOD:
            self.failed.append((seed, outcome))


def mutate(image: bytes, seed: int) -> bytes:
    """Damage the bytes of a file in one of the ways that disks, networks and people have."""
    random = np.random.default_rng(seed)
    damaged = bytearray(image)
    kind = random.choice(["flip", "overwrite", "cut", "copy", "drop", "insert", "number"])
    for _ in range(int(random.choice([1, 1, 1, 2, 5, 20]))):
        place = int(random.integers(len(damaged)))
        count = int(random.choice([1, 4, 8, 64, 512]))
        if kind == "flip":
            damaged[place] ^= 1 << int(random.integers(8))
        elif kind == "overwrite":
            damaged[place : place + count] = bytes([int(random.choice([0, 255]))]) * count
        elif kind == "copy":
            other = int(random.integers(len(damaged)))
            piece = damaged[other : other + count]
            damaged[place : place + len(piece)] = piece
        elif kind == "drop":
            del damaged[place : place + count]
        elif kind == "insert":
            damaged[place:place] = random.bytes(count)
        elif kind == "number":  # a length or an address in HDF5's tables
            numbers = [0, 1, 2**31, 2**63 - 1, 2**64 - 1, int(random.integers(len(damaged)))]
            damaged[place : place + 8] = numbers[random.integers(len(numbers))].to_bytes(8, "little")
        if kind == "cut":
            return bytes(damaged[:place])
    return bytes(damaged)


def read_all(path: Path) -> dict[str, np.ndarray]:
    """Everything that a capture holds."""
    with open_capture(path) as capture:
        return {name: capture.values(name) for name in (*capture.variables, *capture.sizes)}


def capture_of(path: Path) -> Path:
    """The capture that a file belongs to: the partial folder of a unit, else the file itself."""
    return path.parent if path.parent.name.endswith(".partial") else path


def judge(path: Path, right: dict[str, np.ndarray], sealed: bool) -> str:
    """Say how reading a mutant ended."""
    try:
        found = read_all(capture_of(path))
    except RopediagError:
        return "refused"
    except Exception as error:
        return f"raised {type(error).__name__}"
    same = found.keys() == right.keys() and all(
        np.array_equal(found[name], right[name], equal_nan=found[name].dtype.kind == "f") for name in right
    )
    return "same" if same else "other numbers, sealed" if sealed else "other numbers"


def work(source: Path, target: Path, start: int, stop: int, sealed: bool) -> None:
    """Read the mutants of these seeds; say the outcome of each in a line."""
    right, image = read_all(capture_of(source)), source.read_bytes()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    print(json.dumps("ready"), flush=True)
    for seed in range(start, stop):
        target.write_bytes(mutate(image[:-SIZE] if sealed else image, seed))
        if sealed:
            seal_file(target)
        print(json.dumps([seed, judge(target, right, sealed)]), flush=True)


def fuzz(source: Path, folder: Path, start: int, stop: int, sealed: bool = False) -> Tally:
    """Read the mutants of a file, finished or a unit, with the seeds ``start`` .. ``stop`` - 1."""
    tally, seed, target = Tally(), start, folder / "mutant.h5"
    if capture_of(source) != source:
        target = folder / "mutant.h5.partial" / source.name
        shutil.copytree(source.parent, target.parent)
    while seed < stop:
        paths = source, target
        words = [sys.executable, "-m", "tests.reliability.fuzz", *paths, str(seed), str(stop), str(sealed)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT) as process:
            assert process.stdout is not None
            wait = STARTING
            while True:
                ready = _wait(process, wait)
                line = process.stdout.readline() if ready else b""
                if not line:
                    break
                said, wait = json.loads(line), SECONDS
                if said != "ready":
                    tally.add(*said)
                    seed = said[0] + 1
            if seed < stop:
                process.kill()
                process.wait()
                tally.add(seed, "hang" if not ready else f"crash {process.returncode}")
                keep(target, folder / f"failed-{seed}.h5")
                seed += 1
    return tally


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait until a process says something or ends; False if it spends this much processor time on nothing."""
    spent = _processor_time(process.pid)
    while not select.select([process.stdout], [], [], LOOK)[0]:
        if _processor_time(process.pid) - spent > seconds:
            return False
    return True


def _processor_time(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def keep(mutant: Path, place: Path) -> None:
    """Keep a mutant that crashed or hung, to look at."""
    if mutant.is_file():
        shutil.copy(mutant, place)


if __name__ == "__main__":
    work(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "True")
