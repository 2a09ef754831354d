"""The wiring: from the selection to every panel, part and choice, and from clicks back to the URL.

    URL --locate, resolve--> selection --need--> fields of each panel, part and choice --> its answer
     ^                                                                                       |
     +---------------------- clicks, zooms, keys, controls (in the browser) -----------------+

``resolve`` and the answers (``answers.py``) come from the server; the rest runs in the browser (``assets``),
which also resolves what lies in the capture that it shows (``locate``).
"""

from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from dash import Dash, Input, Output, State, no_update

from ropediag.errors import RopediagError

from .browser import wire_browser
from .cards import show_message
from .frame import PLACE_CONTROLS, list_place_options
from .page import Page
from .view import PLACE, Desk


def wire(app: Dash, desk: Desk, pages: list[Page]) -> None:
    """Register all callbacks."""
    _wire_selection(app, desk)
    wire_browser(app)
    for page in pages:
        if page.register:
            page.register(app, desk)


def read_query(search: str | None) -> dict[str, str]:
    """Read the fields of a URL's query; of a field given twice, the last."""
    return dict(parse_qsl((search or "").removeprefix("?")))


def _wire_selection(app: Dash, desk: Desk) -> None:
    """Resolve what the browser cannot: it knows the places of the capture that it shows (``locate``)."""
    controls = [Output(f"select-{field}", name) for field in PLACE_CONTROLS for name in ("data", "value")]

    @app.callback(
        Output("selection", "data", allow_duplicate=True),
        Output("notice", "children", allow_duplicate=True),
        Output("first", "data"),
        *(Output(one.component_id, one.component_property, allow_duplicate=True) for one in controls),
        Input("asked", "data"),
        Input("tick", "n_intervals"),
        State("url", "search"),
        State("selection", "data"),
        State("first", "data"),
        State("select-capture", "data"),
        prevent_initial_call="initial_duplicate",
    )
    def resolve(
        _: Any,
        __: int,
        search: str | None,
        before: dict[str, str] | None,
        first: str | None,
        offered: list[dict[str, str]] | None,
    ) -> list[Any]:
        """Resolve the URL; one that names no capture means the first that was shown, whatever came since."""
        query = read_query(search)
        if "capture" not in query and first in desk.entries("capture"):
            query["capture"] = str(first)
        selection, options = resolve_selection(desk, query)
        captures = no_update if options["capture"] == offered else options["capture"]
        if selection == before:
            return [no_update] * 3 + [captures] + [no_update] * (len(controls) - 1)
        found: list[Any] = [selection, word_notice(query, selection), first or selection.get("capture")]
        for field in PLACE_CONTROLS:
            found += [captures if field == "capture" else options.get(field, []), selection.get(field)]
        return found


def resolve_selection(desk: Desk, query: dict[str, str]) -> tuple[dict[str, str], dict[str, list[Any]]]:
    """Fill in capture, layer, query_head and pair, and list what the controls offer.

    ``stamp`` is the state of the selected file: while a capture grows, panels that use ``capture`` follow.
    """
    view = desk.view(query)
    rest = {name: value for name, value in query.items() if name not in PLACE}
    try:
        selection = {**rest, "capture": view.entry.name, "stamp": "-".join(map(str, view.entry.stamp))}
    except RopediagError:  # an empty folder
        return {**rest, "stamp": ""}, list_place_options(view)
    with suppress(RopediagError):
        selection |= {axis: str(value) for axis, value in view.place.items()}
    return selection, list_place_options(desk.view(selection))


def word_notice(query: dict[str, str], selection: dict[str, str]) -> Any:
    """Say which fields of the URL name nothing here, and what is shown in their place."""
    capture = selection.get("capture")
    if query.get("capture") not in (None, "", capture):
        return show_message(f"{query['capture']} is not in this folder. Shown is {capture}.")
    absent = [axis for axis in PLACE if query.get(axis) and selection.get(axis) not in (None, query[axis])]
    if not absent:
        return None
    said = " and ".join(f"{axis.replace('query_', '')} {query[axis]}" for axis in absent)
    shown = ", ".join(f"{axis.replace('query_', '')} {selection[axis]}" for axis in PLACE)
    return show_message(f"{capture} has no {said}. Shown is {shown}.")
