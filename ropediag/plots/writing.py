"""Writing a figure: a page that needs no network, a picture, or plotly's JSON, by the ending of its name."""

from importlib.util import find_spec
from pathlib import Path

import plotly.graph_objects as go

from ropediag.errors import ConfigError
from ropediag.plots import SHOW_CONFIG

PAGES, PICTURES = (".html",), (".svg", ".png")
ENDINGS = (*PAGES, *PICTURES, ".json")
SCALE = 2  # pixels of a PNG for each of the figure


def check_figure_path(path: Path) -> None:
    """Refuse a name that no figure can be written to, before anything is measured.

    Raises
    ------
    ConfigError
        If the ending is unknown, the folder is missing, or a picture is asked for without kaleido.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"a figure is named *{', *'.join(ENDINGS)}: got {path}.")
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent} is no folder: make it first, or write the figure elsewhere.")
    if path.suffix.lower() in PICTURES and find_spec("kaleido") is None:
        raise ConfigError(
            f"{path.suffix} pictures need kaleido and a Chrome or Chromium: pip install 'ropediag[images]'. "
            "Without them write *.html."
        )


def write_figure(figure: go.Figure, path: Path) -> None:
    """Write a figure; an existing file is replaced.

    Parameters
    ----------
    path : ``.html`` is self-contained, 5 MB of it plotly; ``.svg`` and ``.png`` need kaleido and a browser

    Raises
    ------
    ConfigError
        As ``check_figure_path`` does; if no browser is found; if the file cannot be written.
    """
    check_figure_path(path)
    ending = path.suffix.lower()
    try:
        if ending in PAGES:
            figure.write_html(path, config=SHOW_CONFIG)
        elif ending in PICTURES:
            path.write_bytes(_render(figure, ending))
        else:
            figure.write_json(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}. Choose another place.") from error


def _render(figure: go.Figure, ending: str) -> bytes:
    try:
        return figure.to_image(format=ending.removeprefix("."), scale=SCALE if ending == ".png" else 1)
    except RuntimeError as error:  # plotly's own words are a page long
        if "Chrome" not in str(error):
            raise
        raise ConfigError(
            f"{ending} pictures need a Chrome or Chromium, and none was found: install one "
            "(apt-get install chromium, or plotly_get_chrome), or write *.html."
        ) from error
