"""Only this machine reads the dashboard, and only what is in its folder."""

import pytest
from flask.testing import FlaskClient

from ropediag.app.server import listen, make_app
from ropediag.errors import ConfigError
from tests.app.conftest import CAPTURES


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return make_app(CAPTURES).server.test_client()


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:8050", 200), ("localhost", 200), ("evil.example", 400), ("127.0.0.1.evil", 400)],
)
def test_another_host_name_is_refused(client: FlaskClient, host: str, status: int) -> None:
    assert client.get("/", headers={"Host": host}).status_code == status


def test_pages_may_load_from_this_server_alone(client: FlaskClient) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("path", ["/assets/../server.py", "/assets/%2e%2e/server.py", "/../pyproject.toml"])
def test_no_file_beside_the_assets_is_served(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert b"make_app" not in answer.data
    assert b"[project]" not in answer.data


def test_no_figure_offers_an_upload(page) -> None:
    page.goto("/?capture=example-8192.h5")
    page.wait_for_selector(".modebar-btn", state="attached")
    titles = page.eval_on_selector_all(".modebar-btn", "buttons => buttons.map(one => one.dataset.title)")
    assert titles
    assert not [title for title in titles if "hare" in title or "loud" in title]


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    first = listen(make_app(CAPTURES), 0)
    with pytest.raises(ConfigError, match="Choose another with --port"):
        listen(make_app(CAPTURES), first.effective_port)
    first.close()
