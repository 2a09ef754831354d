"""Readers of a dashboard, as many as one likes: each opens a page, looks a moment, and opens the next.

A reader asks what a browser asks when a click selects another place: the callback that resolves the address,
then every panel, part and choice of the page. What each answer took is kept.
"""

import http.client
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from ropediag.app.page import find_pages

LOOK = 3.0  # seconds a reader looks at what there is, on average
PAGES = {
    page.path: [
        *(f"/panel/{panel.name}" for panel in page.panels),
        *(f"/part/{part.name}" for part in page.parts),
        *(f"/choice/{choice.field}" for choice in page.choices),
    ]
    for page in find_pages()
}


@dataclass
class Log:
    """What all readers met.

    Attributes
    ----------
    seconds : address without its query, and how long the answer took
    errors : answers that were none
    """

    seconds: list[tuple[str, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@contextmanager
def run_dashboard(folder: Path) -> Iterator[tuple[int, int]]:
    """A dashboard in a process of its own; gives its port and the number of the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "ropediag", "dash", str(folder), "--port", str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert "http" in process.stdout.readline()
            yield port, process.pid
        finally:
            process.terminate()


def read(port: int, captures: list[str], seconds: float, log: Log, seed: int) -> None:
    """Be one reader for some seconds."""
    chance, end = random.Random(seed), time.monotonic() + seconds
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    callback = find_callback(connection, "..selection.data")
    time.sleep(chance.uniform(0, LOOK))
    while time.monotonic() < end:
        place = {"capture": chance.choice(captures), "layer": chance.randrange(4)}
        place |= {"query_head": chance.randrange(4), "pair": chance.randrange(16)}
        fill = {"url": f"?{urlencode(place)}"}
        ask(connection, "POST", "/_dash-update-component", log, json.dumps(fill_in(callback, fill)))
        for address in PAGES[chance.choice(list(PAGES))]:
            ask(connection, "GET", f"{address}?{urlencode(place, quote_via=quote)}", log)
        time.sleep(min(chance.expovariate(1 / LOOK), 4 * LOOK))
    connection.close()


def find_callback(connection: http.client.HTTPConnection, output: str) -> dict:
    """Find the callback of the server whose output begins so; gives how a browser calls it."""
    connection.request("GET", "/_dash-dependencies")
    known = json.loads(connection.getresponse().read())
    (one,) = [each for each in known if each["output"].startswith(output) and not each["clientside_function"]]
    changed = "{id}.{property}".format(**one["inputs"][0])
    pairs = [each.rpartition(".") for each in one["output"].strip(".").split("...")]
    outputs = [{"id": json.loads(id) if "{" in id else id, "property": name} for id, _, name in pairs]
    told = {key: one[key] for key in ("output", "inputs", "state")}
    return {**told, "outputs": outputs, "changedPropIds": [changed]}


def fill_in(callback: dict, values: dict[str, str]) -> dict:
    """Give the arguments of a callback their values, by the id of the component; None where there is none."""
    filled = {
        key: [{**one, "value": values.get(one["id"])} for one in callback[key]] for key in ("inputs", "state")
    }
    return {**callback, **filled}


def ask(
    connection: http.client.HTTPConnection, method: str, address: str, log: Log, body: str | None = None
) -> bytes:
    """Ask once; anything but an answer without a fault is an error."""
    begun, text = time.monotonic(), b""
    try:
        connection.request(method, address, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200 or b"a fault of ropediag" in text:
            log.errors.append(f"{address}: {answer.status} {text[:200]!r}")
    except OSError as error:
        log.errors.append(f"{address}: {error!r}")
        connection.close()
    log.seconds.append((address.partition("?")[0], time.monotonic() - begun))
    return text


def read_together(port: int, captures: list[str], readers: int, seconds: float) -> Log:
    """Let many readers read at the same time."""
    log = Log()
    threads = [
        threading.Thread(target=read, args=(port, captures, seconds, log, seed)) for seed in range(readers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return log
