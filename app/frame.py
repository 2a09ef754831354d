"""The frame around every page: brand, the controls of the selection, navigation, light and dark."""

from typing import Any

import dash_mantine_components as dmc
import numpy as np
from dash import dcc, html

from ropediag.errors import RopediagError
from ropediag.plots.style import DARK
from ropediag.store import Capture

from .page import Page, make_plan
from .view import View

PLACE_CONTROLS = {"capture": "Capture", "layer": "Layer", "query_head": "Head", "pair": "Pair"}
WIDTHS = {"capture": 250, "layer": 76, "query_head": 76, "pair": 190}
REFRESH = 5_000  # milliseconds between two looks at a capture that grows
THEME = {
    "primaryColor": "violet",
    "fontFamily": "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif",
    "headings": {"fontFamily": "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"},
}


def lay_out_frame(pages: list[Page]) -> dmc.MantineProvider:
    """Build what stays on the screen, and the stores that pages share."""
    return dmc.MantineProvider(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Store(id="selection"),
            dcc.Store(id="asked"),
            dcc.Store(id="first"),
            dcc.Store(id="plan", data={**make_plan(pages), "dark": DARK}),
            dcc.Store(id="opened", data=[]),
            dcc.Interval(id="tick", interval=REFRESH),
            html.A("Skip to the page", href="#main", className="skip"),
            dmc.AppShell(
                [
                    dmc.AppShellHeader(_show_header(), px="md"),
                    dmc.AppShellNavbar(_show_navigation(pages), p="xs"),
                    dmc.AppShellMain(_show_main(pages)),
                ],
                header={"height": 64},
                navbar={"width": 168, "breakpoint": "sm", "collapsed": {"mobile": False}},
                padding="md",
            ),
        ],
        theme=THEME,
        defaultColorScheme="auto",
    )


def _show_main(pages: list[Page]) -> list[html.Div]:
    """The place of the page that is open, and of those that stay when they are left."""
    stay = [html.Div(id={"type": "stays", "path": page.path}, hidden=True) for page in pages if page.stays]
    return [
        html.Div(id="notice", role="status"),
        html.Div([*stay, html.Div(id="page")], id="main", tabIndex=-1),
    ]


def _show_header() -> dmc.Group:
    controls = [
        dmc.Select(
            id=f"select-{field}",
            label=label,
            size="xs",
            w=WIDTHS[field],
            allowDeselect=False,
            searchable=True,
            comboboxProps={"zIndex": 400},
            classNames={"root": "control"},
        )
        for field, label in PLACE_CONTROLS.items()
    ]
    scheme = dmc.ColorSchemeToggle(
        id="scheme",
        lightIcon="\u263e",
        darkIcon="\u2600",
        size="lg",
        variant="default",
        **{"aria-label": "Switch between light and dark"},
    )
    link = dmc.Button(
        "Copy link", id="copy-link", size="compact-sm", variant="default", **{"aria-live": "polite"}
    )
    return dmc.Group(
        [
            html.A([html.Span("rope", className="brand-rope"), "diag"], href="/", className="brand"),
            dmc.Group(controls, gap="xs", wrap="nowrap"),
            dmc.Group([link, scheme], gap="xs", wrap="nowrap", ml="auto"),
        ],
        h="100%",
        wrap="nowrap",
        gap="lg",
    )


def _show_navigation(pages: list[Page]) -> html.Nav:
    return html.Nav(
        [
            dmc.NavLink(
                id={"type": "link", "path": page.path},
                label=page.title,
                href=page.path,
                variant="light",
                py=6,
            )
            for page in pages
        ]
        + [
            dmc.Text(
                [dmc.Kbd(key, size="xs") for key in "hjkl"] + [" move the selection by a head or a pair"],
                size="xs",
                c="dimmed",
                mt="lg",
                px="sm",
            )
        ],
        **{"aria-label": "Pages"},
    )


def show_page(page: Page, empty: bool) -> list[Any]:
    """Build a page: its heading, its sentence, and what it holds; without captures, what to do."""
    heading = [dmc.Title(page.title, order=1, size="h2"), dmc.Text(page.purpose, c="dimmed", mb="md")]
    return [*heading, _show_first_steps() if empty and page.needs_capture else page.layout()]


def _show_first_steps() -> dmc.Alert:
    return dmc.Alert(
        [
            "Make a capture, in a terminal, and open this page again: ",
            dmc.Code("ropediag capture --model demo --len 8192"),
            " for the bundled model, ",
            dmc.Code("ropediag capture --model path/to/checkpoint --len 65536"),
            " for yours. The page Theory needs none.",
        ],
        title="This folder holds no capture yet",
        color="orange",
        variant="light",
    )


def show_nowhere(pages: list[Page]) -> list[Any]:
    """Say that a URL names no page."""
    return [
        dmc.Title("No such page", order=1, size="h2"),
        dmc.Text(["There are: ", ", ".join(f"{page.title} ({page.path})" for page in pages), "."]),
    ]


def list_place_options(view: View) -> dict[str, list[dict[str, str]]]:
    """List what the controls of the header offer: captures, and the places in the selected one."""
    captures = view.desk.entries("capture")
    offered = {"capture": [{"value": name, "label": name} for name in captures]}
    try:
        return offered | view.keep("places", lambda: _list_places(view.capture))
    except RopediagError:
        return offered


def _list_places(capture: Capture) -> dict[str, list[dict[str, str]]]:
    offered = {
        axis: [{"value": str(one), "label": str(one)} for one in capture.values(axis).tolist()]
        for axis in ("layer", "query_head")
    }
    pairs = zip(capture.values("pair").tolist(), list_periods(capture), strict=True)
    return offered | {
        "pair": [
            {"value": str(pair), "label": f"{pair} (period {period:,.0f})" if period > 0 else str(pair)}
            for pair, period in pairs
        ]
    }


def list_periods(capture: Capture) -> list[float]:
    """Tokens per turn of each pair, NaN where layers differ in it."""
    periods = capture.spec().periods
    first = np.array([next(iter(column[np.isfinite(column)]), np.nan) for column in periods.T])
    same = np.isclose(periods, first, rtol=1e-9) | np.isnan(periods)
    return np.where(same.all(0), first, np.nan).tolist()
