"""Who may ask the dashboard, what it gives them, and what its pages may do."""

import socket
import subprocess
import sys
import threading
import urllib.request

import pytest
from flask.testing import FlaskClient

from ropediag.app import safeguards
from ropediag.app.safeguards import LOCAL, Access, is_local
from ropediag.app.server import listen, make_app
from ropediag.errors import ConfigError
from tests.app.browsing import wait_drawn
from tests.app.conftest import CAPTURES


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return make_app(CAPTURES).server.test_client()


@pytest.fixture
def guarded() -> tuple[FlaskClient, Access]:
    """A dashboard that others may reach, and what it asks them for."""
    access = Access.on("0.0.0.0")
    return make_app(CAPTURES, access=access).server.test_client(), access


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8050", 200),
        ("localhost", 200),
        ("[::1]:8050", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil", 400),
        ("127.0.0.1@evil.example", 400),
        ("[::1", 400),
        ("", 400),
    ],
)
def test_another_host_name_is_refused(client: FlaskClient, host: str, status: int) -> None:
    assert client.get("/", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://127.0.0.1:8050"}, 204),
        ({}, 204),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 204),
    ],
)
def test_other_sites_cannot_make_it_work(client: FlaskClient, headers: dict[str, str], status: int) -> None:
    answer = client.post("/stop/1", headers={"Host": "127.0.0.1:8050", **headers})
    assert answer.status_code == status


def test_pages_may_load_from_this_server_alone_and_run_no_script_of_others(client: FlaskClient) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["object-src"] == rules["base-uri"] == "'none'"
    scripts = rules["script-src"].split()
    assert scripts[0] == "'self'"
    assert scripts[1:]
    assert all(one.startswith("'sha256-") for one in scripts[1:])


def test_a_script_that_got_into_a_page_does_not_run(chromium, address: str) -> None:
    context = chromium.new_context(base_url=address)
    page = context.new_page()
    page.goto("/?capture=example-8192.h5")
    wait_drawn(page, "drift-map")
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "window.got_in = 1";
        document.body.append(script);
        const image = document.createElement("div");
        image.innerHTML = '<img src="data:," onerror="window.got_in = 2">';
        document.body.append(image);
    }""")
    page.wait_for_timeout(300)
    assert page.evaluate("window.got_in") is None
    context.close()


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../server.py",
        "/assets/%2e%2e/server.py",
        "/assets/..%2fserver.py",
        "/assets//etc/passwd",
        "/assets/style.css%00.py",
        "/../pyproject.toml",
        "/_dash-component-suites/dash/../../pyproject.toml",
        "/panel/..%2f..%2fpyproject.toml",
    ],
)
def test_no_file_beside_the_assets_is_served(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert b"make_app" not in answer.data
    assert b"[project]" not in answer.data
    assert b"root:" not in answer.data


def test_no_tool_for_developers_is_there_and_a_fault_shows_no_code(client: FlaskClient) -> None:
    assert client.get("/_reload-hash").json["reloadHash"] is None
    assert '"ui":false' in client.get("/").text
    assert b"debugger" not in client.get("/console").data.lower()
    answer = client.post("/_dash-update-component", json={"output": "nonsense"})
    assert answer.status_code >= 400
    assert b"Traceback" not in answer.data


def test_a_request_is_only_so_large(client: FlaskClient) -> None:
    body = b'{"x": "' + bytes(2**20) + b'"}'
    answer = client.post("/_dash-update-component", data=body, content_type="application/json")
    assert answer.status_code == 413


def test_an_answer_is_only_so_large(client: FlaskClient, monkeypatch) -> None:
    question = "/panel/drift-map?capture=example-8192.h5"
    whole = client.get(question)
    assert whole.status_code == 200
    monkeypatch.setattr(safeguards, "LARGEST", len(whole.data) - 1)
    assert client.get(question).status_code == 507


def test_only_another_address_asks_for_a_token_unless_wished() -> None:
    assert [is_local(host) for host in (*LOCAL, "127.8.8.8", "0.0.0.0", "::", "10.0.0.1", "node7")] == (
        [True] * 4 + [False] * 4
    )
    assert not Access.on("127.0.0.1").token
    assert Access.on("127.0.0.1", always=True).token
    assert Access.on("0.0.0.0").token != Access.on("0.0.0.0").token


def test_without_the_token_nothing_is_given(guarded) -> None:
    client, access = guarded
    paths = ["/", "/panel/drift-map", "/assets/style.css", "/_dash-layout", "/?token=", "/?token=wrong"]
    for path in paths:
        answer = client.get(path, headers={"Authorization": "Bearer wrong"})
        assert (answer.status_code, answer.text) == (401, safeguards.WITHOUT_TOKEN), path
    client.set_cookie(access.cookie, "wrong", domain="localhost")
    assert client.get("/").status_code == 401


def test_the_token_leaves_the_address_and_stays_in_a_cookie(guarded) -> None:
    client, access = guarded
    answer = client.get(f"/pairs?capture=a.h5&token={access.token}&pair=3")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/pairs?capture=a.h5&pair=3")
    kept = answer.headers["Set-Cookie"]
    assert "HttpOnly" in kept
    assert "SameSite=Lax" in kept
    assert client.get("/pairs").status_code == 200
    assert client.get("/panel/drift-map?capture=example-8192.h5").json["figure"]


def test_a_program_gives_the_token_in_a_header(guarded) -> None:
    client, access = guarded
    answer = client.get("/panel/drift-map", headers={"Authorization": f"Bearer {access.token}"})
    assert answer.status_code == 200


def test_on_every_address_the_machine_answers_to_its_own_names(guarded) -> None:
    client, access = guarded
    asked = {"Authorization": f"Bearer {access.token}"}
    assert client.get("/", headers={"Host": f"{socket.gethostname()}:8050", **asked}).status_code == 200
    assert client.get("/", headers={"Host": "evil.example", **asked}).status_code == 400


def test_the_command_prints_the_address_with_the_token_and_asks_for_it() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        sys.executable,
        "-m",
        "ropediag",
        "dash",
        str(CAPTURES),
        "--port",
        str(port),
        "--host",
        "0.0.0.0",
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = [process.stdout.readline(), process.stdout.readline()]
            query = said[0].split(f"http://0.0.0.0:{port}/?")[1].split()[0]
            assert "http" in said[1]
            jar = urllib.request.HTTPCookieProcessor()
            opened = urllib.request.build_opener(jar).open(f"http://127.0.0.1:{port}/?{query}", timeout=30)
            assert opened.status == 200
            assert "token" not in opened.url
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30)
        finally:
            process.terminate()


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


def test_an_address_of_another_machine_is_said_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
        listen(make_app(CAPTURES), 0, "192.0.2.1")


def test_requests_beyond_the_header_limit_do_not_reach_the_program() -> None:
    server = listen(make_app(CAPTURES), 0)
    threading.Thread(target=server.run, daemon=True).start()
    with pytest.raises(urllib.error.HTTPError, match="431"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.effective_port}/?x=" + "x" * 2**18, timeout=30)
    server.close()
