"""Laws of a study's limits side by side: fitted on one half of its models, judged on the other.

A law more is one entry more in ``LAWS``, for models tuned with another base, or in ``RULE_LAWS``, for models
under a scaling rule that nobody trained: it is given the models to learn from and those to predict.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Float

from ropediag.analysis.onset_pair import interpolate_onset
from ropediag.analysis.trained_turn import (
    LONGROPE2,
    TunedModel,
    fit_kappa,
    fit_scale,
    fit_share,
    judge,
    kappa_interval,
    predict_by_first_reach,
    predict_by_onset_stretch,
    predict_by_permuted_swing,
    predict_by_stretch,
    predict_by_swing,
    predict_from_drift,
    predict_from_lateness,
    predict_from_theory,
    predict_limits,
    split,
)
from ropediag.errors import ConfigError

NEEDED = (
    "rotary_dim",
    "onset_pair",
    "drift",
    "period",
    "predicted",
    "measured",
    "past_critical_base",
    "parent",
    "rule",
)
Law = Callable[[Sequence[TunedModel], Sequence[TunedModel]], Float[np.ndarray, " model"]]
SWING_LAWS: dict[str, Law] = {
    "median reach by swing": lambda fitted, judged: predict_by_swing(judged),
    "the same, reaches permuted": lambda fitted, judged: predict_by_permuted_swing(judged),
    "quantile by swing, late": lambda fitted, judged: predict_by_swing(judged, fit_share(fitted), True),
}
RULE_LAWS: dict[str, Law] = {
    "predicted limit": lambda fitted, judged: predict_from_theory(judged),
    "first reach": lambda fitted, judged: predict_by_first_reach(judged),
    "stretch of the onset": lambda fitted, judged: predict_by_onset_stretch(judged),
    **SWING_LAWS,
}
LAWS: dict[str, Law] = {
    "paper": lambda fitted, judged: predict_limits(judged, ceiled=True),
    "paper, no ceiling": lambda fitted, judged: predict_limits(judged),
    "share of a turn": lambda fitted, judged: predict_limits(judged, fit_kappa(fitted)),
    "share of a turn, ceiling": lambda fitted, judged: predict_limits(judged, fit_kappa(fitted, True), True),
    "paper, times a constant": lambda fitted, judged: (
        fit_scale(fitted, True) * predict_limits(judged, ceiled=True)
    ),
    "no ceiling, times a constant": lambda fitted, judged: fit_scale(fitted, False) * predict_limits(judged),
    "no ceiling, late as the parent": lambda fitted, judged: predict_from_lateness(judged),
    "period of the onset pair": lambda fitted, judged: predict_from_drift(judged),
    "stretch of the onset pair": lambda fitted, judged: predict_by_stretch(judged, whole=True),
    "stretch of the onset": lambda fitted, judged: predict_by_stretch(judged),
    "LongRoPE2": lambda fitted, judged: predict_limits(judged, 1 / LONGROPE2),
    "first reach": lambda fitted, judged: predict_by_first_reach(judged),
    **SWING_LAWS,
}
CEILED = {"share of a turn": False, "share of a turn, ceiling": True}


def list_models(
    table: xr.Dataset, untrained: bool = False, swings: xr.Dataset | None = None
) -> list[TunedModel]:
    """List the models of a study that the laws are judged on.

    Parameters
    ----------
    table : of a study that captures its models, as ``open_study`` gives it
    untrained : those under a scaling rule that nobody trained with, instead of those that are tuned, without
        a rule, past the critical base
    swings : the table of another study with the same parents, which says how far their pairs swing; models of
        other parents are then left out

    Raises
    ------
    ConfigError
        If a table lacks what only captures say.
    """
    if swings is not None:
        return _take_swings(list_models(table, untrained), swings)
    _check_holds(table, NEEDED)
    rows = table[[name for name in table if table[name].dims == ("model",)]].to_dataframe()
    tuned, ruled = rows.tuned.astype(bool), rows.rule != "none"
    parents = {
        row.parent: _read_parent(table.sel(model=name), row)
        for name, row in rows[~(tuned | ruled)].iterrows()
    }
    chosen = ruled & ~tuned if untrained else tuned & ~ruled & rows.past_critical_base.astype(bool)
    return [
        TunedModel(
            name=str(name),
            parent=row.parent,
            rotary_dim=int(row.rotary_dim),
            base=row.base,
            tune_len=int(row.tune_len),
            pretrain_base=row.pretrain_base,
            train_len=int(row.train_len),
            onset_pair=own.onset_pair,
            onset=own.onset,
            parent_limit=own.limit,
            measured=row.measured,
            predicted=row.predicted,
            swing=own.swing,
            **_read_reaches(row, own.period, _by_pair(table.period.sel(model=name)), bool(row.tuned)),
        )
        for name, row in rows[chosen].iterrows()
        for own in [parents.get(row.parent, NO_PARENT)]
    ]


def _check_holds(table: xr.Dataset, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise ConfigError(
            f"the table lacks {missing[0]}, which captures say. Give the study a capture section and run it "
            "again."
        )


def _take_swings(models: Sequence[TunedModel], table: xr.Dataset) -> list[TunedModel]:
    """Take the swing of the parents from another table; models whose parents it lacks are left out."""
    _check_holds(table, ("swing",))
    known = {str(name): table.swing.sel(model=name).values for name in table.model.values}
    return [
        replace(one, swing=tuple(known[one.parent][: len(one.reach)].tolist()))
        for one in models
        if one.parent in known
    ]


@dataclass(frozen=True)
class _Parent:
    """What the laws need of an untuned parent: ``TunedModel`` says what each is."""

    onset_pair: float = np.nan
    onset: float = np.nan
    limit: float = np.nan
    swing: tuple[float, ...] = ()
    period: tuple[float, ...] = ()


NO_PARENT = _Parent()


def _read_parent(table: xr.Dataset, row: Any) -> _Parent:
    period = table.period[np.isfinite(table.period.values)]
    swing = _by_pair(table.swing.sel(pair=period.pair)) if "swing" in table else ()
    return _Parent(
        onset_pair=row.onset_pair,
        onset=interpolate_onset(table.drift.values, row.onset_pair),
        limit=row.measured,
        swing=swing if np.isfinite(swing).any() else (),
        period=_by_pair(period),
    )


def _by_pair(values: xr.DataArray) -> tuple[float, ...]:
    return tuple(values.values.tolist())


def _read_reaches(
    row: Any, before: tuple[float, ...], now: tuple[float, ...], tuned: bool
) -> dict[str, tuple[float, ...]]:
    """Stretch and trained reach of each pair there is, from its periods in the parent and in the model."""
    old, new = np.array(before), np.array(now[: len(before)])
    seen = np.maximum(row.train_len / old, row.tune_len / new if tuned else 0.0)  # turns
    reach = np.where(seen >= 1, np.inf, seen * new)
    return {"stretch": tuple((new / old).tolist()), "reach": tuple(reach.tolist())}


def compare_laws(
    models: Sequence[TunedModel], half: Literal["name", "parent"] = "name", untrained: bool = False
) -> xr.Dataset:
    """Fit each law on one half of the models and judge it on the other.

    Laws by the swing judge the models whose parents have one, and are left out if none has.

    Parameters
    ----------
    untrained : whether the models are under a rule that nobody trained with, which has laws of its own
    half : what is hashed: the name of each model, or that of its parent, so that no parent is in both halves

    Returns
    -------
    xr.Dataset over ``law``
        ``mean``, ``median``, ``high``: mean, median and 90th percentile of |log(measured / predicted)|;
        ``ratio``: geometric mean of measured over predicted; each with ``_low`` and ``_high``, the ends of
        its 95 % interval over parents; ``count``: models that were judged; ``kappa`` with its ends, from the
        fitted half: a pair counts as trained after ``1 / kappa`` turns; NaN for laws without.

    Raises
    ------
    ConfigError
        If a half has no model with a measured limit.
    """
    first = split([getattr(one, half) for one in models])
    fitted = [one for one, chosen in zip(models, first, strict=True) if chosen]
    judged = [one for one, chosen in zip(models, first, strict=True) if not chosen]
    if not all(any(np.isfinite(one.measured) for one in each) for each in (fitted, judged)):
        raise ConfigError(f"laws take two halves with measured limits: got {len(models)} models in all.")
    laws = RULE_LAWS if untrained else LAWS
    if not any(one.swing for one in models):
        laws = {name: law for name, law in laws.items() if name not in SWING_LAWS}
    rows = []
    for name, law in laws.items():
        found = judge(judged, law(fitted, judged))
        row: dict[str, float] = {"count": found.count}
        for figure in ("mean", "median", "high", "ratio"):
            row |= dict(zip((figure, f"{figure}_low", f"{figure}_high"), getattr(found, figure), strict=True))
        kappa = (np.nan, np.nan, np.nan)
        if name in CEILED:
            kappa = fit_kappa(fitted, CEILED[name]), *kappa_interval(fitted, CEILED[name])
        rows.append(row | dict(zip(("kappa", "kappa_low", "kappa_high"), kappa, strict=True)))
    return xr.Dataset(
        {name: ("law", [row[name] for row in rows]) for name in rows[0]},
        {"law": list(laws)},
        {"half": half, "fitted": len(fitted), "judged": len(judged)},
    )
