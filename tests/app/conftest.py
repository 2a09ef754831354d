"""A dashboard that really runs, and a real browser in front of it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ropediag.app.server import listen, make_app

CAPTURES = Path(__file__).parents[2] / "captures"


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], str]]:
    """Start a dashboard over a folder; gives its address."""
    running = []

    def start(folder: Path) -> str:
        server = listen(make_app(folder), 0)
        threading.Thread(target=server.run, daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.effective_port}"

    yield start
    for server in running:
        server.close()


@pytest.fixture(scope="session")
def address(serve: Callable[[Path], str]) -> str:
    """The dashboard over the shipped example captures."""
    return serve(CAPTURES)


@pytest.fixture
def page(chromium, address: str) -> Iterator:
    """A fresh tab on the dashboard; console errors, and requests to anywhere else, fail the test."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, base_url=address)
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: _stays(request.url) or complaints.append(f"request to {request.url}"))
    yield tab
    context.close()
    assert not complaints


def _stays(url: str) -> bool:
    return url.startswith(("http://127.0.0.1", "data:", "blob:"))
