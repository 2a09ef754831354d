"""Theory of one or more settings, as labelled arrays: what the laws say pair by pair, and along the base.

A setting is a ``Prediction``: a model as numbers, a config or a checkpoint describe it, before any is loaded.
Lengths and periods are tokens; a coverage is a share of a turn.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Float

from ropediag import limits
from ropediag.analysis.labelled import make_axis
from ropediag.errors import ConfigError
from ropediag.prediction import Prediction
from ropediag.theory.training import plain_training

POINTS = 120  # bases along the law
AROUND = 30.0  # how far the law is followed past the smallest and largest base of interest
LEAST_BASE = 2.0

_PAIRS = {
    "pretrain_period": ("tokens", "period in pretraining"),
    "period": ("tokens", "period as tuned"),
    "pretrain_coverage": ("1", "share of a turn seen in pretraining"),
    "coverage": ("1", "share of a turn seen in pretraining or tuning"),
    "reach": ("tokens", "trained reach; infinite after a full turn in training"),
    "new_fraction": ("1", "share of a turn new at the target"),
}
_NUMBERS = {
    "base": ("1", "base"),
    "pretrain_base": ("1", "base of pretraining"),
    "train_len": ("tokens", "training length"),
    "tune_len": ("tokens", "tuning length"),
    "target_len": ("tokens", "target"),
    "critical_dimension": ("1", "dimensions trained in pretraining"),
    "critical_pair": ("1", "first pair without a full turn in pretraining"),
    "critical_base": ("1", "critical base at this tuning length"),
    "predicted_limit": ("tokens", "predicted limit of the law; NaN for no bound"),
    "first_reach": ("tokens", "first reach, a lower bound; NaN where there is none"),
    "recommended_base": ("1", "least base that reaches the target; NaN where none is needed"),
    "cautious_base": ("1", "the same without the law's ceiling"),
    "retrieval_bound": ("tokens", "first lag with B_m < 0"),
    "retrieval_base": ("1", "least base with B_m >= 0 up to the target"),
}


def measure_theory(prediction: Prediction) -> xr.Dataset:
    """Give what the laws say of one setting: as ``compare_theory``, without the axis ``setting``."""
    found = compare_theory({"": prediction}).isel(setting=0, drop=True)
    return found.assign_attrs(rule=prediction.rule, law=prediction.law)


def compare_theory(settings: Mapping[str, Prediction]) -> xr.Dataset:
    """Put what the laws say of settings beside each other.

    Returns
    -------
    xr.Dataset, every variable with ``units`` and ``long_name``
        (setting, pair): ``pretrain_period``, ``period`` (inf for a pair that never turns),
        ``pretrain_coverage``, ``coverage``, and ``new_fraction`` at the target; NaN for pairs that a setting
        does not have. (setting): the numbers of each ``Prediction``, NaN for what there is not.

    Raises
    ------
    ConfigError
        If there is no setting.
    """
    _check_some(settings)
    pairs = max(len(prediction.inv_freq) for prediction in settings.values())
    by_pair = {name: np.full((len(settings), pairs), np.nan) for name in _PAIRS}
    for row, prediction in enumerate(settings.values()):
        for name, values in _describe_pairs(prediction).items():
            by_pair[name][row, : len(values)] = values
    numbers = [_collect_numbers(prediction) for prediction in settings.values()]
    found: dict[str, tuple] = {
        name: (("setting", "pair"), by_pair[name], {"units": unit, "long_name": meaning})
        for name, (unit, meaning) in _PAIRS.items()
    }
    found |= {name: ("setting", *_make_column(numbers, name)) for name in _NUMBERS}
    axes = {"setting": _name_settings(settings), "pair": make_axis("pair", np.arange(pairs))}
    return xr.Dataset(found, coords=axes)


def _describe_pairs(prediction: Prediction) -> dict[str, Float[np.ndarray, " pair"]]:
    now, before = np.array(prediction.inv_freq), np.array(prediction.pretrain_inv_freq)
    reach = np.array([np.inf if value is None else value for value in prediction.reach])
    known = np.isfinite(reach)
    covered = np.where(now > 0, 1.0, 0.0)  # a pair that never turns shows one angle
    covered[known] = np.minimum(1.0, reach[known] * now[known] / (2 * np.pi))
    new = np.full(len(now), np.nan)
    if prediction.target is not None:
        new = np.maximum(0.0, limits.coverage(now, prediction.target.length) - covered)
    with np.errstate(divide="ignore"):
        periods = 2 * np.pi / np.stack([before, now])
    return {
        "pretrain_period": periods[0],
        "period": periods[1],
        "pretrain_coverage": limits.coverage(before, prediction.train_len),
        "coverage": covered,
        "reach": reach,
        "new_fraction": new,
    }


def _collect_numbers(prediction: Prediction) -> dict[str, float | None]:
    target = prediction.target
    return {
        "base": prediction.base,
        "pretrain_base": prediction.pretrain_base,
        "train_len": prediction.train_len,
        "tune_len": prediction.tune_len,
        "target_len": target.length if target else None,
        "critical_dimension": prediction.critical_dimension,
        "critical_pair": prediction.critical_dimension // 2,
        "critical_base": prediction.critical_base,
        "predicted_limit": prediction.predicted_limit,
        "first_reach": prediction.first_reach,
        "recommended_base": target.base if target else None,
        "cautious_base": target.cautious_base if target else None,
        "retrieval_bound": prediction.retrieval_bound,
        "retrieval_base": target.retrieval_base if target else None,
    }


def _make_column(
    numbers: list[dict[str, float | None]], name: str
) -> tuple[Float[np.ndarray, " setting"], dict[str, str]]:
    unit, meaning = _NUMBERS[name]
    values = np.array([number[name] for number in numbers], dtype=float)
    return values, {"units": unit, "long_name": meaning}


def follow_law(settings: Mapping[str, Prediction]) -> xr.Dataset:
    """Follow the limit of each setting along the base it is tuned with: plain RoPE, all else as it is.

    Returns
    -------
    xr.Dataset
        ``limit`` (setting, along): tokens, NaN where there is no bound of this kind, and ``curve_base``
        (setting, along): the base there, even on a logarithmic axis, and both sides of the critical base,
        where the limit may jump. ``own_base``, ``own_limit``, ``critical_base``, ``tune_len``,
        ``target_len`` (setting): as in ``compare_theory``.

    Raises
    ------
    ConfigError
        If there is no setting.
    """
    _check_some(settings)
    numbers = [_collect_numbers(prediction) for prediction in settings.values()]
    marks = [
        number[name]
        for number in numbers
        for name in ("base", "pretrain_base", "critical_base", "cautious_base")
    ]
    known = [mark for mark in marks if mark]
    ends = max(LEAST_BASE, min(known) / AROUND), max(known) * AROUND
    bases = [
        _bases_around(prediction.critical_base or prediction.base, ends) for prediction in settings.values()
    ]
    curves = [_follow(prediction, base) for prediction, base in zip(settings.values(), bases, strict=True)]
    along = ("setting", "along")
    base = np.array(bases), {"units": "1", "long_name": "base it is tuned with"}
    limit = np.array(curves), {"units": "tokens", "long_name": "limit of the law"}
    found: dict[str, tuple] = {"curve_base": (along, *base), "limit": (along, *limit)}
    for name, own in (("base", "own_base"), ("predicted_limit", "own_limit")):
        found[own] = ("setting", *_make_column(numbers, name))
    for name in ("critical_base", "tune_len", "target_len"):
        found[name] = ("setting", *_make_column(numbers, name))
    return xr.Dataset(found, coords={"setting": _name_settings(settings)})


def _bases_around(critical: float, ends: tuple[float, float]) -> Float[np.ndarray, " along"]:
    at = np.array([critical, np.nextafter(critical, np.inf)])
    return np.sort(np.concatenate([np.geomspace(*ends, POINTS), at]))


def _follow(prediction: Prediction, bases: Float[np.ndarray, " along"]) -> Float[np.ndarray, " along"]:
    numbers = (prediction.pretrain_base, prediction.train_len, prediction.tune_len)
    size = 2 * len(prediction.inv_freq)
    found = [
        plain_training(size, float(base), *numbers).predicted_limit(prediction.turns).value for base in bases
    ]
    return np.array([np.nan if limit is None else limit for limit in found])


def _name_settings(settings: Mapping[str, Prediction]) -> xr.Variable:
    return xr.Variable("setting", list(settings), {"units": "1", "long_name": "setting"})


def _check_some(settings: Mapping[str, Prediction]) -> None:
    if not settings:
        raise ConfigError("there is no setting to compare: give at least one prediction.")
