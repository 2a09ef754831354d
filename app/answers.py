"""The answers: each panel, part and choice of a page has an address, from which the browser fetches it.

    GET  /panel/NAME?FIELDS    {"figure", "explain", "code"}, or {"message"} where there is no figure (yet)
    GET  /part/NAME?FIELDS     {"children"}: components
    GET  /choice/FIELD?FIELDS  {"data", "default", "value"} of a control
    GET  /table/NAME?FIELDS    the numbers of a panel as CSV, or as a ZIP of several
    POST /stop/JOB             stops a background job

FIELDS are those of the page's URL that it uses. ``assets/answers.js`` and ``assets/figures.js`` are the
other side. Callbacks of Dash could do the same; each costs the browser a multiple of what one fetch does.
"""

import io
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import plotly.graph_objects as go
from flask import Flask, Response, abort, request
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from ropediag.analysis.tables import list_tables
from ropediag.errors import RopediagError

from .failure import describe_failure, word_failure
from .jobs import JOBS, Working
from .page import Choice, Page, Panel, Part
from .view import Desk, View

PLOTLY = f"/plotly-{get_plotlyjs_version()}.min.js"
FOREVER = "public, max-age=31536000, immutable"  # the address has the version
TITLE = 44  # pixels above a figure that its title takes


def serve_answers(server: Flask, desk: Desk, pages: list[Page]) -> None:
    """Register all addresses."""
    panels = {panel.name: panel for page in pages for panel in page.panels}
    parts = {part.name: part for page in pages for part in page.parts}
    choices = {choice.field: choice for page in pages for choice in page.choices}

    def register(kind: str, named: Mapping[str, Any], answer: Callable[[Any, View], Any]) -> None:
        def send(name: str) -> Response:
            one = named.get(name) or abort(404)
            found = answer(one, desk.view(request.args.to_dict()))
            if isinstance(found, Response):
                return found
            return Response(to_json_plotly(found, engine="orjson"), mimetype="application/json")

        server.add_url_rule(f"/{kind}/<name>", kind, send)

    register("panel", panels, answer_panel)
    register("part", parts, answer_part)
    register("choice", choices, answer_choice)
    register("table", panels, send_tables)

    @server.post("/stop/<int:job>")
    def stop(job: int) -> Response:
        JOBS.stop(job)
        return Response(status=204)

    @server.get(PLOTLY)
    def send_plotly() -> Response:
        return Response(get_plotlyjs(), mimetype="text/javascript", headers={"Cache-Control": FOREVER})


def answer_panel(panel: Panel, view: View) -> dict[str, Any]:
    """Give a panel's figure with its explanation and its code, or the message that stands in its place."""
    try:
        measured = panel.measure(view)
        figure = fit(panel.draw(measured, view))
        return {"figure": figure, "explain": panel.explain(measured), "code": panel.code(view)}
    except Working as working:
        return {"message": str(working), "share": working.job.share, "job": working.job.number}
    except Exception as error:
        message, fault = describe_failure(error)
        return {"message": message, "fault": fault}


def answer_part(part: Part, view: View) -> dict[str, Any]:
    """Give what a part shows, or why it cannot."""
    try:
        return {"children": part.render(view)}
    except Exception as error:
        return {"children": word_failure(error)}


def answer_choice(choice: Choice, view: View) -> dict[str, Any]:
    """Give what a choice offers, what it is by default, and what is chosen."""
    try:
        options = choice.options(view)
        data = [{"value": key, "label": label} for key, label in options.items()]
        return {"data": data, "default": choice.default(view), "value": choice.value(view)}
    except Exception as error:
        describe_failure(error)
        return {"data": [], "default": None, "value": None}


def send_tables(panel: Panel, view: View) -> Response:
    """Send the numbers of a panel as a file; the panel itself says why it has none."""
    try:
        file, body = export_tables(panel, view)
    except RopediagError as error:
        return Response(str(error), 404, mimetype="text/plain")
    kind = "text/csv" if file.endswith(".csv") else "application/zip"
    return Response(body, mimetype=kind, headers={"Content-Disposition": f'attachment; filename="{file}"'})


def fit(figure: go.Figure) -> dict[str, Any]:
    """Let a figure take the size of its card, which has the title, not the room for another; gives JSON."""
    found = figure.to_plotly_json()
    layout = found["layout"]
    title, margin = layout.pop("title", {}), layout.get("margin", {})
    layout |= {"width": None, "height": None, "autosize": True}
    if title.get("text") and margin.get("t"):
        layout["margin"] = {**margin, "t": max(20, margin["t"] - TITLE)}
    return found


def export_tables(panel: Panel, view: View) -> tuple[str, bytes]:
    """Give the numbers of a panel: name and content of a CSV, or of a ZIP where they have different axes."""
    tables = list_tables(panel.measure(view))
    if len(tables) == 1:
        return f"{panel.name}.csv", next(iter(tables.values())).to_csv(index=False).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for axes, table in tables.items():
            archive.writestr(f"{'-'.join([panel.name, *axes])}.csv", table.to_csv(index=False))
    return f"{panel.name}.zip", packed.getvalue()
