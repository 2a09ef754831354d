"""The server: the Dash app over one folder, and the port that it listens on."""

import ctypes
import logging
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, no_update
from waitress.server import BaseWSGIServer, create_server

from ropediag.errors import ConfigError, RopediagError

from .answers import PLOTLY, serve_answers
from .frame import lay_out_frame, show_nowhere, show_page
from .page import Page, find_pages
from .safeguards import LARGEST_REQUEST, Access, guard, is_local
from .view import Desk, View
from .wiring import wire

THREADS = 4  # answers at the same time; twice as many keep memory that they no longer use
M_ARENA_MAX = -8  # of glibc's mallopt
CONNECTIONS = 1000  # a browser keeps six
INDEX = """<!DOCTYPE html>
<html lang="en">
<head>{%metas%}<title>{%title%}</title>{%favicon%}<script defer src="PLOTLY"></script>{%css%}</head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>""".replace("PLOTLY", PLOTLY)

dmc.pre_render_color_scheme()  # a hook of all apps in this process, so once


def make_app(
    folder: Path, capture: str | None = None, prepare: bool = False, access: Access | None = None
) -> Dash:
    """Build the app over a folder of captures.

    Parameters
    ----------
    folder : whose ``.h5`` files and ``.h5.partial`` folders are shown, and those one level below
    capture : the one that will be asked for first; the newest if None
    prepare : whether to measure what the first page shows already while the browser loads its scripts
    access : who may ask; this machine if None
    """
    app = Dash(
        __name__,
        title="ropediag",
        update_title=None,
        assets_folder=str(Path(__file__).parent / "assets"),
        index_string=INDEX,
        suppress_callback_exceptions=True,
        serve_locally=True,
        enable_mcp=False,
    )
    desk, pages = Desk(folder), find_pages()
    app.layout = lay_out_frame(pages)
    wire(app, desk, pages)
    serve_answers(app.server, desk, pages)
    by_path = {page.path: page for page in pages}

    @app.callback(
        Output("page", "children"),
        *(Output({"type": "stays", "path": page.path}, "children") for page in pages if page.stays),
        Output("opened", "data"),
        Input("url", "pathname"),
        State("opened", "data"),
    )
    def open_page(path: str | None, opened: list[str]) -> tuple:
        page, empty = by_path.get(path or "/"), not desk.entries("capture")
        stay = [no_update for page in pages if page.stays]
        if page is None or not page.stays:
            return show_page(page, empty) if page else show_nowhere(pages), *stay, no_update
        if page.path not in opened:
            stay[[one.path for one in pages if one.stays].index(page.path)] = show_page(page, empty)
        return [], *stay, opened if empty else [*opened, page.path]

    if prepare:
        view = desk.view({"capture": capture} if capture else {})
        threading.Thread(target=_prepare, args=(pages[0], view), daemon=True).start()
    guard(app, access or Access())
    return app


def _prepare(page: Page, view: View) -> None:
    """Measure what a page shows; what cannot be measured is said when it is asked for."""
    for measure in (*(panel.measure for panel in page.panels), *(part.render for part in page.parts)):
        with suppress(RopediagError):
            measure(view)


def listen(app: Dash, port: int, host: str = Access.host) -> BaseWSGIServer:
    """Take a port of this machine, any free one for 0; ``run`` then answers.

    Raises
    ------
    ConfigError
        If the address or the port cannot be had.
    """
    try:
        return create_server(
            app.server,
            host=host,
            port=port,
            threads=THREADS,
            connection_limit=CONNECTIONS,
            max_request_body_size=LARGEST_REQUEST,
            max_request_header_size=LARGEST_REQUEST // 16,
        )
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {error.strerror}. Choose another with --port."
        ) from error


def _share_memory() -> None:
    """Let all threads take memory from one place: glibc gives each its own, and they grow while it serves."""
    with suppress(OSError, AttributeError):  # another C library, which does it otherwise
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def serve(folder: Path, port: int, capture: str | None = None, access: Access | None = None) -> None:
    """Serve until interrupted."""
    access = access or Access()
    _share_memory()
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a line for each that waits
    server = listen(make_app(folder, capture, prepare=True, access=access), port, access.host)
    fields = {"capture": capture, "token": access.token}
    query = urlencode({name: value for name, value in fields.items() if value}, safe="/")
    shown = f"[{access.host}]" if ":" in access.host else access.host
    print(
        f"ropediag: {folder} at http://{shown}:{port}/{query and '?' + query}   (stop with Ctrl-C)",
        flush=True,
    )
    if not is_local(access.host):
        print("Anyone on the way can read along: this is http. Through SSH nobody can: docs/dashboard.md.")
    server.run()
