"""Who may ask the dashboard, and what a page of it may do.

On 127.0.0.1 it answers to this machine's own names, and to its own pages. On another address whoever asks
must also know the token that was printed when it started. Pages run no script but those that came with
them; no answer is larger than ``LARGEST``.
"""

import base64
import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import psutil
from dash import Dash
from flask import Response, abort, redirect, request
from werkzeug.wrappers import Response as BaseResponse

LOCAL = ("127.0.0.1", "localhost", "::1")
LARGEST = 2**26  # bytes of one answer
LARGEST_REQUEST = 2**20  # bytes
WITHOUT_TOKEN = (
    "This dashboard asks for its token. Open the address that `ropediag dash` printed when it started; it "
    "ends with ?token=...\n"
)
_INLINE = re.compile(r"<script(?![^>]*(?:\bsrc=|application/json))[^>]*>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True)
class Access:
    """Where the dashboard listens, and what it asks for.

    Attributes
    ----------
    host : the address of this machine that it listens on
    token : what others must know; empty: nothing
    """

    host: str = LOCAL[0]
    token: str = ""

    @classmethod
    def on(cls, host: str, always: bool = False) -> "Access":
        """Make a token where others can reach the address, or ``always``."""
        return cls(host, secrets.token_urlsafe(24) if always or not is_local(host) else "")

    @property
    def cookie(self) -> str:
        """Name the cookie: browsers share cookies between ports, and two dashboards have two tokens."""
        return f"ropediag-{hashlib.sha256(self.token.encode()).hexdigest()[:12]}"

    def admits(self, said: str | None) -> bool:
        """Whether this is the token; takes as long for one that is nearly right."""
        return not self.token or hmac.compare_digest((said or "").encode(), self.token.encode())

    def names(self) -> set[str]:
        """List the names by which this machine may be asked."""
        names = {*LOCAL, self.host}
        if not is_local(self.host):
            names |= {socket.gethostname(), socket.getfqdn()}
        if self.host in ("0.0.0.0", "::"):
            cards = psutil.net_if_addrs().values()
            names |= {one.address.partition("%")[0] for addresses in cards for one in addresses}
        return {name.lower() for name in names if name}


def is_local(host: str) -> bool:
    """Whether only this machine reaches this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def guard(app: Dash, access: Access) -> None:
    """Set up everything that stands between a request and its answer."""
    server, names, policy = app.server, access.names(), make_policy(app)
    server.config["MAX_CONTENT_LENGTH"] = LARGEST_REQUEST
    server.before_request(lambda: _refuse_other_names(names))
    server.before_request(_refuse_other_sites)
    server.before_request(lambda: _ask_for_token(access))
    server.after_request(_bound_size)
    server.after_request(lambda response: _add_headers(response, policy))


def make_policy(app: Dash) -> str:
    """Say what a page may load and run: files of this server, and the inline scripts that it has now."""
    with app.server.test_request_context("/"):
        page = app.index()
    scripts = " ".join(f"'sha256-{_digest(script)}'" for script in _INLINE.findall(page))
    return (
        f"default-src 'self'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
        "object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _refuse_other_names(names: set[str]) -> None:
    """A page of another site may call this machine by a name of its own; this server has none of those."""
    try:
        asked = urlsplit(f"//{request.headers.get('Host', '')}").hostname
    except ValueError:
        asked = None
    if asked not in names:
        abort(400, f"This dashboard does not answer to the name {asked!r}.")


def _refuse_other_sites() -> None:
    """Pages of other sites may link here, but not make this server work for them unseen."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
        abort(403)
    visit = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.path.count("/") == 1
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and not visit:
        abort(403)


def _ask_for_token(access: Access) -> BaseResponse | None:
    """Let in who has the token; one in the address moves into a cookie, out of the history."""
    if not access.token:
        return None
    given = request.args.get("token")
    if given is not None and access.admits(given):
        rest = urlencode([(key, value) for key, value in request.args.items(multi=True) if key != "token"])
        answer = redirect(f"{request.path}?{rest}" if rest else request.path)
        answer.set_cookie(access.cookie, access.token, httponly=True, samesite="Lax")
        return answer
    kind, _, said = request.headers.get("Authorization", "").partition(" ")
    if access.admits(request.cookies.get(access.cookie)) or (kind == "Bearer" and access.admits(said)):
        return None
    return Response(WITHOUT_TOKEN, 401, mimetype="text/plain", headers={"WWW-Authenticate": "Bearer"})


def _bound_size(response: Response) -> Response:
    """Send nothing that would choke a browser; files of the program are as large as they are."""
    if response.direct_passthrough or len(response.get_data()) <= LARGEST:
        return response
    return Response(f"This would take more than {LARGEST // 2**20} MiB.", 507, mimetype="text/plain")


def _add_headers(response: Response, policy: str) -> Response:
    response.headers["Content-Security-Policy"] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if request.path == "/_favicon.ico":  # asked for anew at each change of the URL
        response.headers["Cache-Control"] = "max-age=3600"
    return response
