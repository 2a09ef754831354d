"""The map of the attention page: which head, which rectangle, at once or by a job, and its figure."""

import re

import xarray as xr

from ropediag.analysis.kept_head import (
    KeptHead,
    check_pairs,
    explain_keeping,
    list_kept_heads,
    load_kept_head,
)
from ropediag.analysis.map_grid import Region, fit_region
from ropediag.analysis.score_map import STATISTICS, is_quick, map_scores
from ropediag.analysis.token_text import TokenText, add_text, read_text
from ropediag.errors import ConfigError
from ropediag.plots.score_map import plot_score_map

from ..jobs import JOBS
from ..page import Choice, Panel
from ..view import View
from ._code import open_in_python

SIDES = ("query", "key")
CELLS = 256  # rows, and columns: 256 kB of numbers
USES = ("capture", "layer", "query_head", "what", "statistic", "sequence", "region")


def _list_sets(view: View) -> dict[str, str]:
    """List what of the logit can be drawn; a list of pairs that the URL names among them."""
    sets = {
        "total": "the whole logit",
        "all": "all rotary pairs",
        "before": "pairs before the critical one",
        "past": "the critical pair and slower ones",
        str(view.pair): f"pair {view.pair}, which is selected",
    }
    named = view.get("what")
    return sets if named in sets or not check_pairs(named) else {**sets, named: f"pairs {named}"}


def _list_sequences(view: View) -> dict[str, str]:
    return {str(one): str(one) for one in view.capture.values("sequence").tolist()}


WHAT = Choice("what", "Which part of the logit", _list_sets, lambda view: "total", ("capture", "pair"))
STATISTIC = Choice("statistic", "Of each cell", lambda view: dict(STATISTICS), lambda view: "mean", width=150)
SEQUENCE = Choice(
    "sequence", "Sequence", _list_sequences, lambda view: next(iter(_list_sequences(view))), width=100
)


def find_place(view: View) -> tuple[int, int]:
    """Give the selected head if it was kept, else the first that was."""
    kept = list_kept_heads(view.capture)
    if not kept:
        raise ConfigError(explain_keeping(view.capture))
    return (view.layer, view.query_head) if (view.layer, view.query_head) in kept else kept[0]


def _load_head(view: View) -> KeptHead:
    layer, query_head = find_place(view)
    sequence = int(SEQUENCE.value(view))
    return view.measure(load_kept_head, layer=layer, query_head=query_head, sequence=sequence)


def _read_region(view: View, length: int) -> Region | None:
    """Read ``q0-q1,k0-k1`` of the URL; None for the whole sequence."""
    found = re.fullmatch(r"(\d{1,12})-(\d{1,12}),(\d{1,12})-(\d{1,12})", view.get("region"))
    return fit_region([int(part) for part in found.groups()], length) if found else None


def _name_job(view: View) -> tuple[str, ...]:
    named = [WHAT.value(view), STATISTIC.value(view), SEQUENCE.value(view), view.get("region")]
    return (str(view.entry.path), *map(str, (*view.entry.stamp, *find_place(view))), *named)


def _measure(view: View) -> xr.Dataset:
    head = _load_head(view)
    region, what, statistic = _read_region(view, head.length), WHAT.value(view), STATISTIC.value(view)
    if is_quick(head, what, statistic, region, CELLS):
        key = ("score map", *_name_job(view))
        measured = view.keep(key, lambda: map_scores(head, region, CELLS, what=what, statistic=statistic))
    else:
        measured = JOBS.result(
            _name_job(view),
            lambda go_on: map_scores(head, region, CELLS, what=what, statistic=statistic, progress=go_on),
        )
    text: TokenText | None = view.keep(
        ("text", SEQUENCE.value(view)), lambda: read_text(view.capture, int(SEQUENCE.value(view)))
    )
    return add_text(measured, text)


def _write_code(view: View) -> str:
    head = _load_head(view)
    place = f"{head.layer}, {head.query_head}, {head.sequence}"
    options = f"what={WHAT.value(view)!r}, statistic={STATISTIC.value(view)!r}"
    opening = open_in_python(
        "from ropediag.analysis.kept_head import load_kept_head\n"
        "from ropediag.analysis.score_map import map_scores\n"
        "from ropediag.analysis.token_text import add_text, read_text\n"
        "from ropediag.plots.score_map import plot_score_map",
        capture=view.entry.path,
    )
    return (
        f"{opening}head = load_kept_head(capture, {place})\n"
        f"measured = map_scores(head, {_read_region(view, head.length)}, {CELLS}, {options})\n"
        f"plot_score_map(add_text(measured, read_text(capture, {head.sequence})))"
    )


def _explain(measured: xr.Dataset) -> str:
    queries, keys = (int(measured[side].attrs["step"]) for side in SIDES)
    cell = "one query and one key" if queries == keys == 1 else f"{queries:,} queries x {keys:,} keys"
    return (
        f"Layer {measured.attrs['layer']}, head {measured.attrs['query_head']}: logits before the softmax"
        f"{measured.attrs['softened']}. A cell is {cell}: "
        f"{measured.logit.attrs['long_name']} over the keys that each query sees. Drag over a part to "
        "enlarge it, down to single tokens."
    )


MAP = Panel(
    name="score-map",
    title="Logits of all queries and keys",
    uses=USES,
    measure=_measure,
    draw=lambda measured, view: plot_score_map(measured),
    code=_write_code,
    explain=_explain,
    height=720,
)
