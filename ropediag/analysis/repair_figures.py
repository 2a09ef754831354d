"""The figures of an ablation file, checked: what was changed in which pairs, and what share that repaired.

They are JSON in the attribute ``figures`` and may come from a stranger; what does not have the form that
``ropediag ablate`` writes is refused by the file's name. None, and what is not finite, becomes NaN.
"""

import json
import math
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ropediag.analysis.runs import word_runs
from ropediag.errors import ConfigError, FormatError
from ropediag.store import Capture

WORD = re.compile(r"[a-z][a-z0-9_-]{0,30}")
CHANGES = {
    "clip": "lag clipped at {limit:,.0f}",
    "fold": "lag folded at {limit:,.0f}",
    "freeze": "frozen",
    "interpolate": "angles divided by {factor:,g}",
    "log": "logits scaled by log of the position",
    "rebase": "turned with base {new_base:,g}",
    "zero": "zeroed",
}
BY_REACH = {"clip": "lag clipped at {at:.4g} x the reach", "fold": "lag folded at {at:.4g} x the reach"}
CHOSEN = {
    "past": "past the critical one",
    "before": "before the critical one",
    "flagged": "that drift",
    "all": "all that have a trained reach",
}
ESTIMATES = ("damage", "repaired", "repaired_tail", "above_random")
WIDTH = 40  # letters of a list of pairs
Interval = tuple[float, float, float]


@dataclass(frozen=True)
class RepairFigures:
    """What one ablation did and what it repaired.

    Attributes
    ----------
    model : its name
    change, pairs : the intervention and the pairs it works on, in words
    trained : tokens, the longer of training and tuning length
    length, sequences : of what the model read
    repairs : multiple of the trained length -> name of ``ESTIMATES`` -> value, low and high end; of an
        intervention that went by the trained reach of each pair, at the first of its multiples
    random : multiple -> share that each random set repairs
    kind : of the intervention, a word
    at : multiples of the reach beyond which lags were limited; none where the intervention does not go by it
    reach : smallest and largest reach of the chosen pairs, tokens; NaN likewise
    curve : multiple of the reach -> share repaired up to the largest multiple of the trained length, low and
        high end
    curve_random : multiple of the reach -> share that each random set repairs there
    """

    model: str
    change: str
    pairs: str
    trained: int
    length: int
    sequences: int
    repairs: dict[float, dict[str, Interval]]
    random: dict[float, tuple[float, ...]]
    kind: str
    at: tuple[float, ...]
    reach: tuple[float, float]
    curve: dict[float, Interval]
    curve_random: dict[float, tuple[float, ...]]


def read_figures(ablation: Capture) -> RepairFigures:
    """Read the figures of an open file of kind ``ablation``.

    Raises
    ------
    ConfigError
        If it is of another kind.
    FormatError
        If the figures are missing or malformed.
    """
    kind = str(ablation.attrs.get("kind", "file without a kind"))
    if kind != "ablation":
        raise ConfigError(
            f"{ablation.path} is no ablation but: {kind}. Give what ropediag ablate --out wrote."
        )
    try:
        return _check(json.loads(ablation.attrs["figures"]))
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise FormatError(
            f"{ablation.path}: the figures of the ablation cannot be used: {reason}. Make the file again: "
            "ropediag ablate --out NAME.h5."
        ) from error


def _check(found: Any) -> RepairFigures:
    entries = _list(found["repairs"])
    at = tuple(_number(multiple) for multiple in _list(found.get("at", [])))  # older files have none
    leading = [entry for entry in entries if not at or _number(entry["at"]) == at[0]]
    repairs = {_number(entry["multiple"]): entry for entry in leading}
    if not repairs or not all(multiple > 1 for multiple in repairs):
        raise ValueError("no repair at a multiple above 1")
    last = {
        _number(entry["at"]): entry for entry in entries if at and _number(entry["multiple"]) == max(repairs)
    }
    if set(last) != set(at) or len(set(at)) < len(at) or not all(multiple > 0 for multiple in at):
        raise ValueError("its multiples of the reach are not those of its repairs")
    return RepairFigures(
        model=_text(found["model"]),
        change=_name_change(found),
        pairs=_name_pairs(found),
        trained=max(_list_lengths(found)),
        length=_whole(found["length"]),
        sequences=_whole(found["sequences"]),
        repairs={
            multiple: {name: _interval(entry[name]) for name in ESTIMATES}
            for multiple, entry in repairs.items()
        },
        random={
            multiple: tuple(_number(share) for share in _list(entry["random"]))
            for multiple, entry in repairs.items()
        },
        kind=_word(found["kind"]),
        at=at,
        reach=(_number(found.get("smallest_reach")), _number(found.get("largest_reach"))),
        curve={multiple: _interval(entry["repaired"]) for multiple, entry in last.items()},
        curve_random={
            multiple: tuple(_number(share) for share in _list(entry["random"]))
            for multiple, entry in last.items()
        },
    )


def _name_change(found: dict[str, Any]) -> str:
    kind = _word(found["kind"])
    settings = {name: _number(found[name]) for name in ("limit", "factor", "new_base")}
    if found.get("at"):
        return BY_REACH.get(kind, kind).format(at=_number(found["at"][0]))
    return CHANGES.get(kind, kind).format(**settings)


def _name_pairs(found: dict[str, Any]) -> str:
    """Name the chosen pairs: ``11 to 31, past the critical one``."""
    groups = [[_whole(pair) for pair in _list(group["pairs"])] for group in _list(found["pairs"])]
    chosen = found["chosen"]
    if found["kind"] == "log" or (chosen == "all" and not found.get("at")):
        return "all pairs"
    listed = word_runs(sorted({pair for group in groups for pair in group}), " to ")
    listed = "pairs " + textwrap.shorten(listed, WIDTH, placeholder=" ...")
    if isinstance(chosen, list):
        return listed
    word = _word(chosen)
    return f"{listed}, {CHOSEN.get(word, word)}"


def _interval(entry: Any) -> Interval:
    if entry is None:
        return math.nan, math.nan, math.nan
    return _number(entry["value"]), _number(entry["low"]), _number(entry["high"])


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"a number was expected: got {str(value)[:40]!r}")
    return float(value) if math.isfinite(value) else math.nan


def _list_lengths(found: Mapping[str, Any]) -> list[int]:
    """List the lengths of all phases of training; older files state two of them."""
    phases = found.get("phases")
    if isinstance(phases, list) and phases:
        return [_whole(phase["length"]) for phase in phases]
    return [_whole(found["train_len"]), _whole(found["tune_len"])]


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"a whole number of 0 and more was expected: got {str(value)[:40]!r}")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"a list was expected: got {str(value)[:40]!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text was expected: got {str(value)[:40]!r}")
    return value


def _word(value: Any) -> str:
    if not WORD.fullmatch(_text(value)):
        raise ValueError(f"a single word was expected: got {value[:40]!r}")
    return value
