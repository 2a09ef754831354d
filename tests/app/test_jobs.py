"""Jobs end when they are done, stopped, or when nobody asks for them any more."""

import threading
import time

import pytest

from ropediag.app import jobs
from ropediag.app.jobs import Jobs
from ropediag.errors import ConfigError


def wait_for(job, state):
    for _ in range(500):
        if job.state == state:
            return
        time.sleep(0.01)
    pytest.fail(f"the job is {job.state}, not {state}, after 5 s")


def count_up(started):
    """A job without end."""

    def work(go_on):
        started.set()
        while go_on(0.5):
            time.sleep(0.005)
        raise RuntimeError("given up")

    return work


def test_a_job_gives_its_result_and_is_not_done_twice():
    found, calls = Jobs(), []
    job = found.start("one", lambda go_on: calls.append(1) or "result")
    wait_for(job, "done")
    assert (job.result, job.share) == ("result", 1.0)
    assert found.start("one", lambda go_on: calls.append(2)) is job
    assert calls == [1]


def test_a_stopped_job_ends_and_can_be_started_again():
    found, started = Jobs(), threading.Event()
    job = found.start("one", count_up(started))
    assert started.wait(5)
    found.stop(job.number)
    wait_for(job, "stopped")
    again = found.start("one", lambda go_on: "result")
    wait_for(again, "done")
    assert again is not job
    assert job.state == "stopped", "giving up is no failure"


def test_a_job_that_nobody_asks_for_stops(monkeypatch):
    monkeypatch.setattr(jobs, "PATIENCE", 0.3)
    found, started = Jobs(), threading.Event()
    job = found.start("one", count_up(started))
    for _ in range(10):
        time.sleep(0.06)
        assert found.start("one", count_up(started)) is job, "asking keeps it going"
    wait_for(job, "stopped")


def test_a_job_that_fails_says_why():
    def work(go_on):
        raise ConfigError("no such pair")

    job = Jobs().start("one", work)
    wait_for(job, "failed")
    assert job.reason == "no such pair"
