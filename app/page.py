"""What a page is made of: panels (figures), parts (text and tables) and choices (controls), as data.

A page is one file in ``pages/`` with a ``PAGE``; ``find_pages`` finds it by scanning the folder.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go
import xarray as xr
from dash.development.base_component import Component

from ropediag.errors import ConfigError

from .view import View

PLACE_FIELDS = ("capture", "layer", "query_head", "pair")


@dataclass(frozen=True)
class Panel:
    """A figure with its title, explanation, exports and the code that makes it.

    Attributes
    ----------
    name : its id, unique in the app
    title : above the figure
    uses : fields of the URL it depends on: it is drawn anew when one of them changes
    measure : the numbers behind it, as the CSV holds them
    draw : the figure of these numbers
    code : lines of Python that make the same figure in a notebook
    explain : what the figure asks and what high means, from its numbers
    height : of the figure, pixels
    leads_to : path of the page that a click on it opens; None stays
    """

    name: str
    title: str
    uses: tuple[str, ...]
    measure: Callable[[View], xr.Dataset]
    draw: Callable[[xr.Dataset, View], go.Figure]
    code: Callable[[View], str]
    explain: Callable[[xr.Dataset], str]
    height: int = 420
    leads_to: str | None = None


@dataclass(frozen=True)
class Part:
    """Text or a table that depends on the selection; attributes as in ``Panel``."""

    name: str
    uses: tuple[str, ...]
    render: Callable[[View], Component | list[Component] | str]


@dataclass(frozen=True)
class Choice:
    """A select whose value is a field of the URL.

    Attributes
    ----------
    field : of the URL
    label : above the select
    options : value -> label, for a view
    default : the value where the URL has none, for a view
    """

    field: str
    label: str
    options: Callable[[View], dict[str, str]]
    default: Callable[[View], str]
    uses: tuple[str, ...] = ("capture",)
    width: int = 260

    def value(self, view: View) -> str:
        """Give what is chosen: the URL's value if it is an option, the default otherwise."""
        chosen = view.get(self.field)
        return chosen if chosen in self.options(view) else self.default(view)


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes
    ----------
    title : in the navigation and as heading
    path : of its URL
    order : in the navigation
    purpose : one sentence below the heading
    layout : the components; ``cards.show_panel`` and so on place what the page declares
    panels, parts, choices : what the page wires
    needs : name -> fields of the URL, for stores ``{"type": "need", "panel": name}`` of the page's own
    register : further callbacks, from the app and the desk
    needs_capture : whether there is nothing to see in a folder without captures
    stays : whether it stays in the document, hidden, when it is left: coming back draws nothing anew. Not for
        pages with callbacks of their own, which would go on meanwhile
    """

    title: str
    path: str
    order: int
    purpose: str
    layout: Callable[[], Any]
    panels: tuple[Panel, ...] = ()
    parts: tuple[Part, ...] = ()
    choices: tuple[Choice, ...] = ()
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    register: Callable[[Any, Any], None] | None = None
    needs_capture: bool = True
    stays: bool = False


def list_uses(pages: list[Page]) -> dict[str, list[str]]:
    """List which fields of the URL each panel, part and choice depends on, by the name of its store."""
    named = {one.name: one.uses for page in pages for one in page.panels}
    named |= {one.name: one.uses for page in pages for one in page.parts}
    named |= {name_choice(one.field): (*one.uses, one.field) for page in pages for one in page.choices}
    named |= {name: uses for page in pages for name, uses in page.needs.items()}
    return {name: list(uses) for name, uses in named.items()}


def make_plan(pages: list[Page]) -> dict[str, dict[str, Any]]:
    """What the browser must know of each panel, part, choice and own store: fields, page and kind.

    ``leads`` says to which page a click on a panel leads; own stores have no kind.
    """
    kinds = {one.name: "panel" for page in pages for one in page.panels}
    kinds |= {one.name: "part" for page in pages for one in page.parts}
    kinds |= {name_choice(one.field): "choice" for page in pages for one in page.choices}
    return {
        "uses": list_uses(pages),
        "homes": {name: page.path for page in pages for name in list_uses([page])},
        "kinds": kinds,
        "leads": {one.name: one.leads_to for page in pages for one in page.panels},
    }


def name_choice(field: str) -> str:
    """Name the store of a choice."""
    return f"choice-{field}"


def find_pages() -> list[Page]:
    """Find every page in ``pages/``, in the order of the navigation.

    Raises
    ------
    ConfigError
        If two pages share a path, or two panels, parts or choices a name.
    """
    package = importlib.import_module(f"{__package__}.pages")
    modules = [
        importlib.import_module(f"{package.__name__}.{entry.name}")
        for entry in pkgutil.iter_modules(package.__path__)
    ]
    pages = sorted(
        (module.PAGE for module in modules if hasattr(module, "PAGE")), key=lambda page: page.order
    )
    for what, names in (
        ("pages have the path", [page.path for page in pages]),
        (
            "panels or parts have the name",
            [one.name for page in pages for one in (*page.panels, *page.parts)],
        ),
    ):
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ConfigError(f"two {what} {min(twice)!r}: each must have its own.")
    return pages
