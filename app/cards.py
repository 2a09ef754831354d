"""How panels, parts and choices look: a card around a figure, with exports, code and explanation."""

import math
from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import dcc, html

from .page import Choice, Panel, Part, name_choice

TABLE = 860  # pixels: least width of a small table


def show_panel(panel: Panel) -> html.Section:
    """Place a panel: title and buttons, the figure, and below it what it asks."""
    name = panel.name
    card = dmc.Paper(
        [
            dcc.Store(id={"type": "need", "panel": name}),
            dmc.Group(
                [dmc.Title(panel.title, order=2, size="h4"), _show_exports()],
                justify="space-between",
                wrap="wrap",
                gap="xs",
            ),
            html.Div(
                [html.Pre(className="code-lines"), _show_button("Copy", "copy")],
                className="code",
                hidden=True,
            ),
            html.Div(role="status", className="message"),
            html.Div(className="figure", style={"height": panel.height}),
            html.P(className="explain"),
        ],
        withBorder=True,
        p="md",
        className="panel",
    )
    return html.Section(card, id=f"panel-{name}", **{"aria-label": panel.title})


def _show_exports() -> dmc.Group:
    """Buttons: the picture as PNG and SVG, the numbers as CSV, the code."""
    return dmc.Group([_show_button(label, label.lower()) for label in ("PNG", "SVG", "CSV", "Python")], gap=6)


def _show_button(label: str, does: str) -> dmc.Button:
    """A button of a panel; what it does is in ``assets/figures.js``."""
    return dmc.Button(label, size="compact-xs", variant="default", **{"data-does": does})


def show_part(part: Part) -> html.Div:
    """Place a part: it fills itself."""
    return html.Div(
        [
            dcc.Store(id={"type": "need", "panel": part.name}),
            html.Div(id={"type": "part", "panel": part.name}),
        ]
    )


def show_choice(choice: Choice) -> Any:
    """Place a choice."""
    name = name_choice(choice.field)
    return html.Div(
        [
            dcc.Store(id={"type": "need", "panel": name}),
            dmc.Select(
                id={"type": "choice", "field": choice.field},
                label=choice.label,
                searchable=True,
                allowDeselect=False,
                size="xs",
                w=choice.width,
                comboboxProps={"zIndex": 400},
            ),
        ]
    )


def show_fact(label: str, value: Any, unit: str, form: str = "{:,.0f}") -> html.Div:
    """Show one number with its name and unit; ``none`` where it is None or NaN."""
    known = value is not None and math.isfinite(float(value))
    number = form.format(float(value)) if known else "none"
    text = [dmc.Text(number, span=True, fw=700, size="lg"), f" {unit}" if known else ""]
    return html.Div([dmc.Text(label, size="xs", c="dimmed"), dmc.Text(text, size="sm")])


def show_message(text: str, colour: str = "orange", title: str | None = None) -> dmc.Alert:
    """Build a notice of what is missing and what to do."""
    return dmc.Alert(text, title=title, color=colour, variant="light", my="xs")


def show_grid(
    name: str,
    columns: list[dict[str, Any]],
    leads_to: str | None = None,
    height: str = "70vh",
    row_id: str = "params.data.id",
) -> Any:
    """Place a table that sorts and filters; a row whose data has ``pick`` puts these fields into the URL.

    Parameters
    ----------
    name : its id is ``{"type": "grid", "panel": name}``; fill ``rowData`` by a callback
    columns : as ag-grid takes them
    leads_to : path of the page that a row leads to; None stays
    row_id : what tells the rows apart, as an expression of ag-grid
    """
    return html.Div(
        [
            dcc.Store(id={"type": "leads-grid", "panel": name}, data=leads_to),
            dag.AgGrid(
                id={"type": "grid", "panel": name},
                columnDefs=columns,
                defaultColDef={"filter": True, "sortable": True, "resizable": True},
                dashGridOptions={
                    "rowSelection": {"mode": "singleRow", "checkboxes": False, "enableClickSelection": True},
                    "animateRows": False,
                    "theme": {"function": "themeQuartz"},
                    "suppressColumnVirtualisation": True,
                },
                getRowId=row_id,
                style={"height": height},
            ),
        ]
    )


def show_table(head: tuple[str, ...], rows: list[list[str]]) -> Any:
    """Show a small table of text; a page narrower than it scrolls it."""
    table = dmc.Table(
        [
            dmc.TableThead(dmc.TableTr([dmc.TableTh(cell) for cell in head])),
            dmc.TableTbody([dmc.TableTr([dmc.TableTd(cell) for cell in row]) for row in rows]),
        ],
        fz="xs",
        verticalSpacing=4,
        striped=True,
        mb="md",
    )
    return dmc.TableScrollContainer(table, minWidth=TABLE)
