"""Processes that tests kill, forked from a server that has loaded what they need: they start at once."""

import multiprocessing
import os
import signal
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

VICTIMS = ("tests.store.victim", "tests.capture.victim", "tests.tune.victim")

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(list(VICTIMS))


def warm_up() -> None:
    """Let the server load what it needs, which takes seconds that are no run's own."""
    process = processes.Process(target=int)
    process.start()
    process.join()


def kill(process: BaseProcess) -> bool:
    """Kill a process; gives whether it was still alive to be killed."""
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def run_command(words: list[str], said: Path) -> tuple[int | None, str]:
    """Run ``ropediag`` with these words in a process of its own; gives its status and what it said."""
    process = processes.Process(target=_command, args=(words, said))
    process.start()
    process.join()
    return process.exitcode, said.read_text(encoding="utf-8")


def _command(words: list[str], said: Path) -> None:
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = ["ropediag", *words]
    from ropediag.cli import main

    main()
