"""The calculator: boxes for the settings of the URL, buttons to add, copy and remove one, and presets.

What runs in the browser is ``assets/theory.js``: the boxes follow the URL, and a change in them changes it.
"""

from typing import Any

import dash_mantine_components as dmc
from dash import ALL, ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update

from ropediag.plots.style import COLOURS, DARK
from ropediag.rope_parameters import RULES

from ..view import Desk
from ._settings import FIELDS, LETTERS, MOST, Fault, predict_setting, read_settings

LLAMA2 = "pretrain-10000_train-4096_base-{}_tune-{}_rotary-128_target-65536"
PRESETS = {
    "LLaMA2 as it is, and tuned with base 1,000,000": "*".join(
        LLAMA2.format(base, 4096) for base in ("10000", "1e6")
    ),
    "LLaMA2 as it is": LLAMA2.format(10000, 4096),
    "Tuned at 4,096 as in the paper: bases 500, 10,000, 40,000 and 1,000,000": "*".join(
        LLAMA2.format(base, 4096) for base in ("500", "10000", "40000", "1e6")
    ),
    "Tuned at 16,384 as in the paper: bases 500, 10,000 and 1,000,000": "*".join(
        LLAMA2.format(base, 16384) for base in ("500", "10000", "1e6")
    ),
    "LLaMA2 to 65,536: base, NTK, YaRN, interpolation": "*".join(
        [
            LLAMA2.format("1e6", 4096),
            *(f"{LLAMA2.format(10000, 4096)}_rule-{rule}_factor-16" for rule in ("ntk", "yarn", "linear")),
        ]
    ),
    "The bundled demo: base 10,000 at 128 tokens": (
        "pretrain-10000_train-128_base-10000_rotary-64_target-8192"
    ),
}
PLACEHOLDERS = {"pretrain": "as base", "base": "as pretraining", "tune": "as training", "turns": "1"}
DEFAULT = next(iter(PRESETS.values()))
NAME = "calculator"  # of its own store
NEED = {"type": "need", "panel": NAME}


def show_calculator() -> dmc.Paper:
    """Place the boxes of all settings; those that the URL does not have are hidden."""
    controls = dmc.Group(
        [
            dmc.Select(
                id="theory-preset",
                data=[{"value": text, "label": name} for name, text in PRESETS.items()],
                placeholder="Choose a preset",
                size="xs",
                w=430,
                comboboxProps={"zIndex": 400},
                **{"aria-label": "Preset"},
            ),
            dmc.Button("Add a setting", id="theory-add", size="xs", variant="default"),
        ],
        gap="xs",
    )
    title = dmc.Title("Settings", order=2, size="h4")
    return dmc.Paper(
        [
            dcc.Store(id=NEED),
            dcc.Store(id={"type": "theory-default", "row": 0}, data=DEFAULT),
            dmc.Group([title, controls], justify="space-between", mb="xs"),
            *map(_show_setting, range(MOST)),
        ],
        withBorder=True,
        p="md",
        className="panel",
    )


def _show_setting(row: int) -> html.Div:
    letter, colour = LETTERS[row], COLOURS[row]
    mark = html.Div(
        letter,
        className="setting-mark",
        style={"borderColor": f"light-dark({colour}, {DARK[colour]})"},
    )
    buttons = [
        dmc.Button(
            word,
            id={"type": f"setting-{word.lower()}", "row": row},
            size="compact-xs",
            variant="default",
            **{"aria-label": f"{word} setting {letter}"},
        )
        for word in ("Copy", "Remove")
    ]
    return html.Div(
        [mark, *(_show_field(field.key, field.label, row) for field in FIELDS), *buttons],
        id={"type": "setting-row", "row": row},
        className="setting",
        style={"display": "none"},
    )


def _show_field(key: str, label: str, row: int) -> Any:
    shared = {
        "id": {"type": "setting", "row": row, "field": key},
        "label": label,
        "size": "xs",
        "aria-label": f"{label} of setting {LETTERS[row]}",
    }
    if key == "rule":
        return dmc.Select(
            data=["none", *RULES], allowDeselect=False, w=104, comboboxProps={"zIndex": 400}, **shared
        )
    return dmc.TextInput(debounce=True, placeholder=PLACEHOLDERS.get(key, ""), w=104, **shared)


def wire_calculator(app: Dash, desk: Desk) -> None:
    """Wire the boxes to the URL, in the browser; errors come to their boxes from the server."""
    box = {"type": "setting", "row": ALL, "field": ALL}
    # ALL, though there is one: when the page is left, Dash asks once more, with nothing there
    url = State("url", "search"), State({"type": "theory-default", "row": ALL}, "data")
    app.clientside_callback(
        ClientsideFunction("theory", "fill"),
        Output(box, "value"),
        Output({"type": "setting-row", "row": ALL}, "style"),
        Output("theory-add", "disabled"),
        Input(NEED, "data"),
        *url,
        State(box, "id"),
        State(box, "value"),
        State({"type": "setting-row", "row": ALL}, "id"),
        State({"type": "setting-row", "row": ALL}, "style"),
    )
    app.clientside_callback(
        ClientsideFunction("theory", "edit"),
        Output("url", "search", allow_duplicate=True),
        Input(box, "value"),
        State(box, "id"),
        *url,
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("theory", "arrange"),
        Output("url", "search", allow_duplicate=True),
        Output("theory-preset", "value"),
        Input("theory-add", "n_clicks"),
        Input({"type": "setting-copy", "row": ALL}, "n_clicks"),
        Input({"type": "setting-remove", "row": ALL}, "n_clicks"),
        Input("theory-preset", "value"),
        *url,
        prevent_initial_call=True,
    )

    @app.callback(
        Output(box, "error"),
        Input(NEED, "data"),
        State(box, "id"),
        State(box, "error"),
    )
    def mark_faults(need: dict[str, str] | None, ids: list[dict[str, Any]], before: list[Any]) -> list[Any]:
        if need is None:
            return [no_update] * len(ids)
        settings = read_settings(need.get("settings") or DEFAULT)
        faults = {
            (row, answer.key): answer.message
            for row, answer in enumerate(map(predict_setting, settings))
            if isinstance(answer, Fault)
        }
        found = [faults.get((one["row"], one["field"])) for one in ids]
        return [no_update if now == then else now for now, then in zip(found, before, strict=True)]
