"""Long computations in the background: started once, asked how far they are, stopped when nobody asks.

Threads, not processes: an open HDF5 file does not survive a fork, and NumPy computes without the interpreter.
"""

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from ropediag.errors import ConfigError, RopediagError

WORKERS = 2
PATIENCE = 10.0  # seconds after which a job that nobody asks for stops
REMEMBERED = 24  # jobs whose results are kept

Progress = Callable[[float], bool]


@dataclass(eq=False)
class Job:
    """One computation.

    Attributes
    ----------
    state : ``running``, ``done``, ``stopped`` or ``failed``
    share : how much is done, from 0 to 1
    result : what it gave, once done
    reason : why it failed
    number : its name for the browser
    """

    state: str = "running"
    share: float = 0.0
    result: Any = None
    reason: str = ""
    asked: float = field(default_factory=time.monotonic)
    number: int = field(default_factory=itertools.count(1).__next__)

    def go_on(self, share: float) -> bool:
        """Take note of the progress; False if the job is to end."""
        self.share = share
        if self.state == "running" and time.monotonic() - self.asked > PATIENCE:
            self.state = "stopped"
        return self.state == "running"

    def stop(self) -> None:
        """Stop it before its next step."""
        if self.state == "running":
            self.state = "stopped"


class Working(RopediagError):
    """What is asked for is being computed by a job."""

    def __init__(self, job: Job) -> None:
        super().__init__("This visits every pair of query and key, so it takes a while.")
        self.job = job


class Jobs:
    """All jobs of the server, by what they compute."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[Hashable, Job] = OrderedDict()
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="job")
        self._lock = Lock()

    def start(self, key: Hashable, work: Callable[[Progress], Any]) -> Job:
        """Start a job, or give the one of this key that runs or has ended; asking keeps it going.

        Parameters
        ----------
        work : called with a function that takes the share that is done and says whether to go on
        """
        with self._lock:
            job = self._jobs.get(key)
            if job is None or job.state == "stopped":
                job = self._jobs[key] = Job()
                self._pool.submit(_run, job, work)
            job.asked = time.monotonic()
            self._jobs.move_to_end(key)
            while len(self._jobs) > REMEMBERED:
                self._jobs.popitem(last=False)[1].stop()
        return job

    def result(self, key: Hashable, work: Callable[[Progress], Any]) -> Any:
        """Give what a job computed; it is started if it was not.

        Raises
        ------
        Working
            As long as it is not done.
        ConfigError
            If it failed.
        """
        job = self.start(key, work)
        if job.state == "failed":
            with self._lock:
                self._jobs.pop(key, None)  # who asks again gets another try
            raise ConfigError(job.reason)
        if job.state != "done":
            raise Working(job)
        return job.result

    def stop(self, number: int) -> None:
        """Let a job end before it is done."""
        with self._lock:
            for job in self._jobs.values():
                if job.number == number:
                    job.stop()


def _run(job: Job, work: Callable[[Progress], Any]) -> None:
    if not job.go_on(0.0):
        return
    try:
        result = work(job.go_on)
    except RopediagError as error:
        job.state, job.reason = "failed", str(error)
    except Exception as error:  # a stopped computation ends in one of its own; others are told, not lost
        if job.state == "running":
            job.state, job.reason = "failed", f"{type(error).__name__}: {error}"
    else:
        if job.state == "running":
            job.result, job.share, job.state = result, 1.0, "done"


JOBS = Jobs()  # of this process
