"""The table of a study: one row a model, with its predicted and its measured limit, and its curve."""

import json
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ropediag.analysis.limit import MeasuredLimit, measure_limit, moving_mean
from ropediag.limits import critical_base
from ropediag.store import Capture, open_capture
from ropediag.study.captured import describe_capture
from ropediag.study.cells import Cell

POINTS = 256  # of a curve, evenly spaced in the logarithm of the position
RECALLED = 0.5  # share of right answers
EXCESS_AT = (1.0, 1.5, 2.0, 4.0, 8.0)  # multiples of the predicted limit


def make_table(evaluations: dict[Cell, Path], captures: dict[Cell, Path] | None = None) -> xr.Dataset:
    """Collect the evaluations of a study's cells, and what their captures say of drift.

    Parameters
    ----------
    evaluations, captures : the finished cells and their files

    Returns
    -------
    Dataset over ``model``, ``multiple`` and ``position``, with captures also over ``pair``; what a model did
    not show is NaN
    """
    rows = []
    for cell, path in evaluations.items():
        with open_capture(path) as capture:
            rows.append(_row(cell, capture))
    longest = max(int(row.attrs["length"]) for row in rows)
    position = np.unique(np.geomspace(1, longest - 1, POINTS).astype(int))
    rows = [row.interp(position=position) for row in rows]
    for row in rows:
        row.attrs.clear()
    if captures:
        rows = [
            xr.merge([row, describe_capture(captures[cell], float(row.measured))])
            for cell, row in zip(evaluations, rows, strict=True)
        ]
    table = xr.concat(rows, "model", join="outer")
    return table.assign_coords(model=[cell.name for cell in evaluations])


def _row(cell: Cell, capture: Capture) -> xr.Dataset:
    """What one evaluation says of one model."""
    attributes = capture.attrs
    excess = (capture["loss/nll"] - capture["loss/nll_windowed"]).values
    windowed = capture["loss/nll_windowed"].values[:, 1:].mean(1) / np.log(2)
    base, pretrain_base = float(attributes["base"]), float(attributes["pretrain_base"])
    train_len, tune_len = int(attributes["train_len"]), int(attributes["tune_len"])
    figures = json.loads(attributes["figures"])
    predicted = figures["limit"]["predicted"]
    cost = (figures.get("regression") or {}).get("difference", {})
    measured = measure_limit(excess, capture.window_len)
    curve = moving_mean(excess, measured.span).mean(0)
    centre = np.arange(len(curve)) + 1 + measured.span // 2
    start = tune_len if predicted is None else predicted
    values = {
        "base": (base, "", "base the model was tuned with"),
        "tune_len": (tune_len, "token", "tuning length"),
        "seed": (cell.seed, "", "seed of the tuning"),
        "parent": (Path(cell.parent).name, "", "pretrained model it was tuned from"),
        "rule": (_rule(cell), "", "scaling rule and its factor, or none"),
        "pretrain_base": (pretrain_base, "", "base of pretraining"),
        "train_len": (train_len, "token", "length of pretraining"),
        "tuned": (cell.tune_len is not None, "", "whether the model was tuned at all"),
        "past_critical_base": (
            cell.rule is None and base > critical_base(pretrain_base, train_len, tune_len),
            "",
            "whether plain RoPE of a base above the critical one of the tuning length",
        ),
        "predicted": (_or_nan(predicted), "token", "extrapolation limit of the law"),
        **_limit_values(measured),
        "steepest_rise": (
            steepest_rise(curve, centre, train_len),
            "nat",
            "steepest rise of the excess over one training length, past the training length",
        ),
        "recall_reach": (
            recall_reach(figures.get("recall") or []),
            "token",
            f"longest measured length up to which recall stays at {RECALLED:.0%} or above",
        ),
        "short_context_cost": (
            _or_nan(cost.get("value")),
            "nat/token",
            "loss within the training length less the parent's",
        ),
        "short_context_cost_low": (_or_nan(cost.get("low")), "nat/token", "lower end of its 95 % interval"),
        "short_context_cost_high": (_or_nan(cost.get("high")), "nat/token", "upper end of its 95 % interval"),
        "windowed_loss": (windowed.mean(), "bit/token", "loss with at most train_len tokens of context"),
        "windowed_loss_se": (windowed.std(ddof=1) / len(windowed) ** 0.5, "bit/token", "its standard error"),
    }
    row = xr.Dataset({name: ((), value, _named(*text)) for name, (value, *text) in values.items()})
    row["excess"] = ("position", curve, _named("nat", "excess loss, mean over sequences and a moving window"))
    row = row.assign_coords(position=("position", centre, _named("token", "position")))
    at = [np.interp(multiple * start, centre, curve, np.nan, np.nan) for multiple in EXCESS_AT]
    row["excess_at"] = ("multiple", at, _named("nat", "excess loss at a multiple of the predicted limit"))
    row = row.assign_coords(multiple=list(EXCESS_AT))
    row.attrs["length"] = excess.shape[1]
    return row


def _rule(cell: Cell) -> str:
    return "none" if cell.rule is None else f"{cell.rule} {cell.factor:g}"


def steepest_rise(curve: np.ndarray, centre: np.ndarray, train_len: int) -> float:
    """Largest difference of a curve between two positions ``train_len`` apart, the first at least there.

    Parameters
    ----------
    curve, centre : (window,) moving mean, nats, and its positions, one token apart

    Returns
    -------
    float, nats; NaN where the curve is too short
    """
    inside = curve[np.searchsorted(centre, train_len) :]
    return float((inside[train_len:] - inside[:-train_len]).max()) if len(inside) > train_len else np.nan


def recall_reach(recall: list[dict[str, Any]]) -> float:
    """Longest length up to which the first recall task is right at least half the time, tokens; or NaN."""
    if not recall:
        return np.nan
    shares = sorted((entry["length"], entry["value"]) for entry in recall[0]["by_length"])
    held = [length for length, _ in takewhile(lambda entry: entry[1] >= RECALLED, shares)]
    return float(held[-1]) if held else 0.0


def _limit_values(measured: MeasuredLimit) -> dict[str, tuple[float, str, str]]:
    described = f"first position from which the excess stays above {measured.threshold} nats"
    return {
        "measured": (_or_nan(measured.position), "token", described),
        "measured_low": (_or_nan(measured.low), "token", "lower end of its 95 % interval over sequences"),
        "measured_high": (_or_nan(measured.high), "token", "upper end of its 95 % interval over sequences"),
    }


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _named(units: str, long_name: str) -> dict[str, str]:
    return {"units": units, "long_name": long_name}
