"""Limit table: what each of several captures is, and where theory and measurement put its limits."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ropediag.analysis.verdict import Verdict
from ropediag.limits import critical_base
from ropediag.rope import RopeSpec, inv_freq
from ropediag.theory.training import find_base

SAME = 1e-3  # of a frequency: models keep theirs in float32 or less
NUMBERS = {
    "base": ("base", "1", "rotary base"),
    "pretrain_base": ("pretrain_base", "1", "base of pretraining"),
    "train_len": ("train_len", "tokens", "length of pretraining"),
    "tune_len": ("tune_len", "tokens", "tuning length"),
    "length": ("length", "tokens", "tokens per sequence in the capture"),
    "sequences": ("sequences", "1", "sequences in the capture"),
    "predicted": ("predicted_limit", "tokens", "predicted limit of the law"),
    "first_reach": ("first_reach", "tokens", "first reach: smallest trained reach of a pair, a lower bound"),
    "measured": ("measured_limit", "tokens", "measured limit: from there on more context does harm"),
    "measured_low": ("measured_limit_low", "tokens", "lower end of its 95 % interval over sequences"),
    "measured_high": ("measured_limit_high", "tokens", "upper end of its 95 % interval over sequences"),
    "critical_pair": ("critical_pair", "1", "first pair without a full turn in training"),
    "onset_pair": ("onset_pair", "1", "fastest pair that drifts, mean over the heads of the model"),
    "onset_pair_low": ("onset_pair_low", "1", "lower end of its 95 % interval"),
    "onset_pair_high": ("onset_pair_high", "1", "upper end of its 95 % interval"),
}  # fmt: skip


def tabulate_limits(verdicts: Mapping[str, Verdict], specs: Mapping[str, RopeSpec]) -> xr.Dataset:
    """Put the limits of several captures into one table.

    Parameters
    ----------
    verdicts : what to call each capture -> its verdict
    specs : its rotary geometry, by the same names

    Returns
    -------
    xr.Dataset over ``capture``
        The names of ``NUMBERS``, NaN where something is not known or not there; ``model`` and ``scaling``:
        text; ``past_critical_base``: whether plain RoPE of a base above the critical one of the tuning
        length, where the law's limit grows with the base.
    """
    found: dict[str, Any] = {
        name: (
            "capture",
            [_number(getattr(verdict, own)) for verdict in verdicts.values()],
            {"units": units, "long_name": meaning},
        )
        for name, (own, units, meaning) in NUMBERS.items()
    }
    rules = [describe_scaling(specs[name]) for name in verdicts]
    past = [_is_past_critical_base(each, rule) for each, rule in zip(verdicts.values(), rules, strict=True)]
    for name, values, meaning in (
        ("model", [verdict.model for verdict in verdicts.values()], "name of the model"),
        ("scaling", rules, "how the frequencies differ from plain RoPE of the base"),
        ("past_critical_base", past, "whether plain RoPE of a base above the critical one of its length"),
    ):
        found[name] = ("capture", values, {"units": "1", "long_name": meaning})
    return xr.Dataset(found, {"capture": list(verdicts)})


def describe_scaling(spec: RopeSpec) -> str:
    """Say how a model's frequencies differ from plain RoPE of its base.

    Returns
    -------
    str
        ``none`` where every layer that rotates has plain frequencies, one of them those of the stated base;
        otherwise how many times slower pairs turn than under it, or which base they are those of.
    """
    rows = [row for row in (own[np.isfinite(own) & (own > 0)] for own in spec.inv_freq) if len(row)]
    if not rows:
        return "no rotation"
    if spec.base is None:
        return "unknown base"
    bases = [base for base in (find_base(row, spec.base) for row in rows) if base is not None]
    if len(bases) == len(rows):
        return "none" if spec.base in bases else f"as base {round(bases[0], 3):,.10g}"
    slower = np.concatenate([inv_freq(2 * len(row), spec.base) / row for row in rows])
    low, high = float(slower.min()), float(slower.max())
    if high / low - 1 < SAME and abs(high - 1) < SAME:
        return "none"
    if high / low - 1 < SAME:
        return f"all pairs {high:.3g} times slower"
    return f"pairs {low:.3g} to {high:.3g} times slower"


def _is_past_critical_base(verdict: Verdict, scaling: str) -> bool:
    if verdict.base is None or verdict.pretrain_base is None or scaling != "none":
        return False
    tune_len = verdict.tune_len or verdict.train_len
    return verdict.base > critical_base(verdict.pretrain_base, verdict.train_len, tune_len)


def _number(value: float | int | None) -> float:
    return math.nan if value is None else float(value)
