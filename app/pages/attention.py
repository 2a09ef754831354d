"""The attention map of a kept head: any rectangle of queries x keys, from the sequence to single tokens."""

from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update

from ropediag.analysis.kept_head import list_kept_heads
from ropediag.analysis.token_text import PARTS
from ropediag.errors import RopediagError

from ..cards import show_choice, show_panel, show_part
from ..jobs import Job
from ..page import Page, Part
from ..view import Desk, View
from ._attention_map import JOBS, MAP, SEQUENCE, SIDES, STATISTIC, WHAT, find_place, name_job

HIDDEN = {"display": "none"}
POLL = 400  # milliseconds between two looks at a job
NEED = {"type": "need", "panel": MAP.name}
GRAPH = {"type": "graph", "panel": MAP.name}
FIGURE = {"type": "figure", "panel": MAP.name}


def _show_heads(view: View) -> list[Any]:
    """A select of the heads that were kept; it moves the selection of the whole page."""
    kept = list_kept_heads(view.capture)
    if not kept:
        return []
    here = find_place(view)
    options = [{"value": f"{layer}:{head}", "label": f"layer {layer}, head {head}"} for layer, head in kept]
    select = dmc.Select(
        id="attention-head",
        label="Kept head",
        data=options,
        value=f"{here[0]}:{here[1]}",
        allowDeselect=False,
        size="xs",
        w=170,
        comboboxProps={"zIndex": 400},
    )
    return [select]


HEADS = Part("attention-heads", ("capture", "layer", "query_head"), _show_heads)


def _show_token(side: str) -> html.Div:
    """Room for a token in its text; filled in the browser."""
    text = [
        html.Span(id=f"attention-{side}-before"),
        html.Mark(id=f"attention-{side}-token"),
        html.Span(id=f"attention-{side}-after"),
    ]
    return html.Div(
        [html.Span(id=f"attention-{side}-place", className="token-place"), *text], className="token"
    )


def _lay_out() -> html.Div:
    pairs = dmc.TextInput(
        id="attention-pairs", label="or these pairs", placeholder="11-15,20", size="xs", w=130, debounce=True
    )
    buttons = dmc.Group(
        [
            dmc.Button("Zoom out", id="attention-out", size="xs", variant="default"),
            dmc.Button("Whole sequence", id="attention-whole", size="xs", variant="default"),
        ],
        gap=6,
    )
    chooser = [
        show_part(HEADS),
        show_choice(WHAT),
        pairs,
        show_choice(STATISTIC),
        show_choice(SEQUENCE),
        buttons,
    ]
    return html.Div(
        [
            dmc.Group(chooser, mb="md", align="flex-end"),
            _show_job(),
            html.Div(
                [*map(_show_token, SIDES), html.Div(id="attention-value")],
                id="attention-tokens",
                **{"aria-live": "polite"},
            ),
            show_panel(MAP),
        ]
    )


def _show_job() -> html.Div:
    """Room for a job's progress, hidden until there is one."""
    buttons = [
        dmc.Button(label, id=f"attention-{name}", size="compact-xs", variant="default", style=HIDDEN)
        for name, label in (("stop", "Stop"), ("start", "Start again"))
    ]
    bar = dmc.Progress(
        id="attention-share", value=0, w=260, **{"aria-label": "share of the map that is computed"}
    )
    row = dmc.Group([bar, dmc.Text(id="attention-word", size="sm"), *buttons], gap="sm", mb="sm")
    return html.Div(
        [html.Div(row, id="attention-job", style=HIDDEN), dcc.Interval(id="attention-poll", interval=POLL)]
    )


def _word_job(job: Job) -> list[Any]:
    """What the room shows: itself, the share, the words, and one button."""
    stopped = job.state == "stopped"
    word = "Stopped." if stopped else f"{job.share:.0%} of all pairs of tokens visited"
    return [{}, 100 * job.share, word, HIDDEN if stopped else {}, {} if stopped else HIDDEN]


def _register(app: Dash, desk: Desk) -> None:
    def find(need: dict[str, str] | None) -> Job | None:
        try:
            return JOBS.find(name_job(desk.view(need))) if need else None
        except RopediagError:
            return None

    need_again = Output(NEED, "data", allow_duplicate=True)

    @app.callback(
        Output("attention-job", "style"),
        Output("attention-share", "value"),
        Output("attention-word", "children"),
        Output("attention-stop", "style"),
        Output("attention-start", "style"),
        Output("attention-poll", "disabled"),
        need_again,
        Input("attention-poll", "n_intervals"),
        Input("attention-stop", "n_clicks"),
        Input({"type": "message", "panel": MAP.name}, "children"),
        State(NEED, "data"),
        prevent_initial_call=True,
    )
    def look(_: int | None, stops: int | None, message: Any, need: dict[str, str] | None) -> list[Any]:
        """Tell how far the job has come, or stop it; once it is done, the panel is asked to draw again.

        A panel without a message has its figure, and needs no job. The interval runs until then: what a
        drawing panel set off cannot set it off again, a later tick can.
        """
        job = find(need) if message else None
        if job is None or job.state == "failed":
            return [HIDDEN, *[no_update] * 4, True, no_update]
        if ctx.triggered_id == "attention-stop":
            job.stop()
        again = {**(need or {}), "job": "done"} if job.state == "done" else no_update
        return [*_word_job(job), job.state == "stopped", again]

    @app.callback(
        need_again, Input("attention-start", "n_clicks"), State(NEED, "data"), prevent_initial_call=True
    )
    def start(clicks: int, need: dict[str, str]) -> dict[str, str]:
        """Draw again, which starts the job again."""
        return {**need, "job": str(clicks)}

    _register_browser(app)


def _register_browser(app: Dash) -> None:
    """Register what runs in the browser, in ``assets/attention.js``."""
    search = Output("url", "search", allow_duplicate=True)
    state = [State(FIGURE, "data"), State("url", "search")]

    def clientside(name: str, output: Any, *arguments: Any) -> None:
        function = ClientsideFunction("ropediag_attention", name)
        app.clientside_callback(function, output, *arguments, prevent_initial_call=True)

    clientside("zoom", search, Input(GRAPH, "relayoutData"), *state)
    clientside("out", search, Input("attention-out", "n_clicks"), *state)
    clientside("whole", search, Input("attention-whole", "n_clicks"), *state)
    clientside(
        "head", search, Input("attention-head", "value"), State("selection", "data"), State("url", "search")
    )
    clientside("pairs", search, Input("attention-pairs", "value"), State("url", "search"))
    parts = [f"attention-{side}-{part}" for side in SIDES for part in ("place", *PARTS)]
    outputs = [Output(part, "children") for part in (*parts, "attention-value")]
    clientside("tokens", outputs, Input(GRAPH, "hoverData"), State(FIGURE, "data"))


PAGE = Page(
    title="Attention",
    path="/attention",
    order=4,
    purpose="The attention map of a head whose vectors were kept, from the whole sequence to single tokens.",
    layout=_lay_out,
    panels=(MAP,),
    parts=(HEADS,),
    choices=(WHAT, STATISTIC, SEQUENCE),
    register=_register,
)
