"""What the tables of several pages share: how their columns look, and how high they are."""

from typing import Any

ROW = 43  # pixels
NUMBER: dict[str, Any] = {"filter": "agNumberColumnFilter", "type": "rightAligned"}
WRAPPED: dict[str, Any] = {"wrapHeaderText": True, "autoHeaderHeight": True}
ONE_LINE, TWO_LINES, GROUPED = 60, 70, 112  # pixels that headings take


def format_numbers(form: str) -> dict[str, Any]:
    """Make the format of a column of numbers, as d3 writes it; what is not known is left empty."""
    return {"function": f"params.value == null ? '' : d3.format('{form}')(params.value)"}


def fit_height(rows: int, heading: int) -> dict[str, str]:
    """Make the style of a table that is as high as its rows, up to most of the window.

    Parameters
    ----------
    rows : how many
    heading : pixels that the headings take
    """
    return {"height": f"min({heading + ROW * rows}px, 70vh)"}
