"""The server: the Dash app over one folder, and the safeguards of a page that only this machine may read."""

import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, no_update
from flask import Response, request
from waitress.server import BaseWSGIServer, create_server

from ropediag.errors import ConfigError, RopediagError

from .answers import PLOTLY, serve_answers
from .frame import lay_out_frame, show_nowhere, show_page
from .page import Page, find_pages
from .view import Desk, View
from .wiring import wire

THREADS = 8  # answers at the same time
HOSTS = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
INDEX = """<!DOCTYPE html>
<html lang="en">
<head>{%metas%}<title>{%title%}</title>{%favicon%}<script defer src="PLOTLY"></script>{%css%}</head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>""".replace("PLOTLY", PLOTLY)

dmc.pre_render_color_scheme()  # a hook of all apps in this process, so once


def make_app(folder: Path, capture: str | None = None, prepare: bool = False) -> Dash:
    """Build the app over a folder of captures.

    Parameters
    ----------
    folder : whose ``.h5`` files and ``.h5.partial`` folders are shown, and those one level below
    capture : the one that will be asked for first; the newest if None
    prepare : whether to measure what the first page shows already while the browser loads its scripts
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
    app.server.config["TRUSTED_HOSTS"] = list(HOSTS)
    app.server.after_request(_add_headers)
    return app


def _prepare(page: Page, view: View) -> None:
    """Measure what a page shows; what cannot be measured is said when it is asked for."""
    for measure in (*(panel.measure for panel in page.panels), *(part.render for part in page.parts)):
        with suppress(RopediagError):
            measure(view)


def _add_headers(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    if request.path == "/_favicon.ico":  # asked for anew at each change of the URL
        response.headers["Cache-Control"] = "max-age=3600"
    return response


def listen(app: Dash, port: int) -> BaseWSGIServer:
    """Take a port of this machine, any free one for 0; ``run`` then answers.

    Raises
    ------
    ConfigError
        If the port cannot be had.
    """
    try:
        return create_server(app.server, host="127.0.0.1", port=port, threads=THREADS)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on port {port}: {error.strerror}. Choose another with --port."
        ) from error


def serve(folder: Path, port: int, capture: str | None = None) -> None:
    """Serve until interrupted, on this machine only."""
    server = listen(make_app(folder, capture, prepare=True), port)
    query = f"?capture={quote(capture)}" if capture else ""
    print(f"ropediag: {folder} at http://127.0.0.1:{port}/{query}   (stop with Ctrl-C)", flush=True)
    server.run()
