"""Figures in a page: numbered, with a text that says the same, packed small."""

import base64
import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

KEPT_BITS = 12  # of the 24 of a float32: a figure's numbers are right to 1 in 4,096
_DROPPED = np.uint32(24 - KEPT_BITS)
TITLE, HIGHEST = 44, 640  # pixels: what a figure's own title takes; of a figure


@dataclass(frozen=True, eq=False)
class Drawing:
    """One figure and what stands in its place without JavaScript.

    Attributes
    ----------
    name : of its element in the page
    text : what it shows, in words
    height : pixels
    figure : as JSON
    """

    name: str
    text: str
    height: int
    figure: str


def draw(name: str, figure: go.Figure, text: str) -> Drawing:
    """Take a figure into the page: as wide as the page, without a title of its own."""
    layout = figure.layout
    height = min(int(layout.height or 450), HIGHEST)
    if layout.title.text:
        titled = min(TITLE, max(0, (layout.margin.t or 0) - 24))
        figure.update_layout(title=None, margin_t=(layout.margin.t or 0) - titled)
        height -= titled
    figure.update_layout(width=None, height=height, autosize=True, meta=None)
    return Drawing(name, text, height, json.dumps(_shorten(json.loads(figure.to_json()))))


def pack(text: str) -> str:
    """Compress a text to what ``page.js`` unpacks."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def pack_drawings(drawings: Iterable[Drawing]) -> str:
    """Pack the figures as one list of [name, figure]."""
    return pack("[" + ",".join(f"[{json.dumps(each.name)},{each.figure}]" for each in drawings) + "]")


def _shorten(node: object) -> object:
    """Round the arrays of a figure, which plotly writes as base64, so that they pack well."""
    if isinstance(node, list):
        return [_shorten(each) for each in node]
    if not isinstance(node, dict):
        return node
    if "bdata" in node and node.get("dtype") in ("f4", "f8"):
        values = np.frombuffer(base64.b64decode(node["bdata"]), np.dtype(node["dtype"])).astype(np.float32)
        return {**node, "dtype": "f4", "bdata": base64.b64encode(_round(values).tobytes()).decode()}
    return {key: _shorten(value) for key, value in node.items()}


def _round(values: np.ndarray) -> np.ndarray:
    """Round to the leading bits; what is not finite stays as it is."""
    half = np.uint32(1) << (_DROPPED - np.uint32(1))
    with np.errstate(over="ignore"):
        bits = (values.view(np.uint32) + half) & ~((np.uint32(1) << _DROPPED) - np.uint32(1))
    return np.where(np.isfinite(values), bits.view(np.float32), values).astype(np.float32)
