"""The attention map of a kept head: any rectangle of queries x keys, from the sequence to single tokens."""

from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, html

from ropediag.analysis.kept_head import list_kept_heads

from ..cards import show_choice, show_panel, show_part
from ..page import Page, Part
from ..view import Desk, View
from ._attention_map import MAP, SEQUENCE, SIDES, STATISTIC, WHAT, find_place


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
            html.Div(
                [*map(_show_token, SIDES), html.Div(id="attention-value")],
                id="attention-tokens",
                **{"aria-live": "polite"},
            ),
            show_panel(MAP),
        ]
    )


def _register(app: Dash, desk: Desk) -> None:
    """Register what runs in the browser, in ``assets/attention.js``."""
    search = State("url", "search")
    for name, *given in (
        ("out", Input("attention-out", "n_clicks"), search),
        ("whole", Input("attention-whole", "n_clicks"), search),
        ("head", Input("attention-head", "value"), State("selection", "data"), search),
        ("pairs", Input("attention-pairs", "value"), search),
    ):
        app.clientside_callback(
            ClientsideFunction("ropediag_attention", name),
            Output("url", "search", allow_duplicate=True),
            *given,
            prevent_initial_call=True,
        )


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
