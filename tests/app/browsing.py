"""What a reader does in the browser, as the tests do it."""

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.conftest import HANG

GRAPH = "name => document.querySelector(`#panel-${name} .js-plotly-plot`)"


def wait_until(page: Any, expression: str, arg: Any = None, timeout: float = HANG) -> None:
    """Wait until an expression, or a function of ``arg``, is true.

    Playwright's own ``wait_for_function`` evaluates text in the page, which the page's policy forbids.
    """
    deadline = time.monotonic() + timeout / 1000
    while not _evaluate(page, expression, arg):
        assert time.monotonic() < deadline, f"still not so: {expression}"
        page.wait_for_timeout(20)


def _evaluate(page: Any, expression: str, arg: Any) -> Any:
    from playwright.sync_api import Error

    try:
        return page.evaluate(expression, arg)
    except Error:  # the page is not there yet
        return None


def wait_drawn(page: Any, *panels: str) -> None:
    """Wait until these panels show a figure."""
    for name in panels:
        wait_until(
            page,
            f"name => (({GRAPH})(name)?._fullData || []).length",
            arg=name,
        )


def read_trace(page: Any, panel: str, trace: int = 0) -> dict[str, Any]:
    """Give x, y and z of a trace as the browser has them, decoded."""
    return page.evaluate(
        f"""([name, trace]) => {{
            const data = ({GRAPH})(name)._fullData[trace];
            const nested = (row) => row && row.length !== undefined && typeof row !== "string";
            const plain = (a) => a && Array.from(a, (row) => nested(row) ? Array.from(row) : row);
            return {{ x: plain(data.x), y: plain(data.y), z: plain(data.z), name: data.name }};
        }}""",
        [panel, trace],
    )


def click_cell(page: Any, panel: str, column: float, row: float) -> None:
    """Click a place of a figure, in units of its axes."""
    page.locator(f"#panel-{panel} .figure").scroll_into_view_if_needed()
    x, y = page.evaluate(
        f"""([name, x, y]) => {{
            const drawn = ({GRAPH})(name), box = drawn.getBoundingClientRect(), layout = drawn._fullLayout;
            const across = layout.xaxis._offset + layout.xaxis.c2p(x);
            return [box.left + across, box.top + layout.yaxis._offset + layout.yaxis.c2p(y)];
        }}""",
        [panel, column, row],
    )
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    page.wait_for_timeout(200)  # plotly throttles hovering, and clicks what it hovers over
    page.mouse.click(x, y)


def read_fields(page: Any) -> dict[str, str]:
    """Give the fields of the URL."""
    return {name: values[-1] for name, values in parse_qs(urlsplit(page.url).query).items()}
