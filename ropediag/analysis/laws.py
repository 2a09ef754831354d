"""Laws of a study's limits side by side: fitted on one half of its models, judged on the other.

A law more is one entry more in ``LAWS``: it is given the models to learn from and those to predict.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float

from ropediag.analysis.onset_pair import interpolate_onset
from ropediag.analysis.trained_turn import (
    LONGROPE2,
    TunedModel,
    fit_kappa,
    fit_scale,
    judge,
    kappa_interval,
    predict_by_stretch,
    predict_from_drift,
    predict_from_lateness,
    predict_limits,
    split,
)
from ropediag.errors import ConfigError

NEEDED = (
    "rotary_dim",
    "onset_pair",
    "drift",
    "predicted",
    "measured",
    "past_critical_base",
    "parent",
    "rule",
)
Law = Callable[[Sequence[TunedModel], Sequence[TunedModel]], Float[np.ndarray, " model"]]
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
}
CEILED = {"share of a turn": False, "share of a turn, ceiling": True}


def list_models(table: xr.Dataset) -> list[TunedModel]:
    """List the models of a study that the laws are judged on: tuned, without a rule, past the critical base.

    Parameters
    ----------
    table : of a study that captures its models, as ``open_study`` gives it

    Raises
    ------
    ConfigError
        If the table lacks what only captures say.
    """
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise ConfigError(
            f"the table lacks {missing[0]}, which captures say. Give the study a capture section and run it "
            "again."
        )
    rows = table[[name for name in table if table[name].dims == ("model",)]].to_dataframe()
    parents = rows[~rows.tuned.astype(bool)].set_index("parent")
    drift = table.drift.transpose("model", "pair").to_series().unstack("pair")
    onsets = {
        row.parent: interpolate_onset(drift.loc[name].to_numpy(), row.onset_pair)
        for name, row in rows[~rows.tuned.astype(bool)].iterrows()
    }
    chosen = rows[rows.tuned.astype(bool) & rows.past_critical_base.astype(bool) & (rows.rule == "none")]
    return [
        TunedModel(
            name=str(name),
            parent=row.parent,
            rotary_dim=int(row.rotary_dim),
            base=row.base,
            tune_len=int(row.tune_len),
            pretrain_base=row.pretrain_base,
            train_len=int(row.train_len),
            onset_pair=parents.onset_pair.get(row.parent, np.nan),
            onset=onsets.get(row.parent, np.nan),
            parent_limit=parents.measured.get(row.parent, np.nan),
            measured=row.measured,
        )
        for name, row in chosen.iterrows()
    ]


def compare_laws(models: Sequence[TunedModel], half: Literal["name", "parent"] = "name") -> xr.Dataset:
    """Fit each law on one half of the models and judge it on the other.

    Parameters
    ----------
    half : what is hashed: the name of each model, or that of its parent, so that no parent is in both halves

    Returns
    -------
    xr.Dataset over ``law``
        ``median``, ``high``: median and 90th percentile of |log(measured / predicted)|; ``ratio``: geometric
        mean of measured over predicted; each with ``_low`` and ``_high``, the ends of its 95 % interval over
        parents; ``count``: models that were judged; ``kappa`` with its ends, from the fitted half: a pair
        counts as trained after ``1 / kappa`` turns; NaN for laws without.

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
    rows = []
    for name, law in LAWS.items():
        found = judge(judged, law(fitted, judged))
        row: dict[str, float] = {"count": found.count}
        for figure in ("median", "high", "ratio"):
            row |= dict(zip((figure, f"{figure}_low", f"{figure}_high"), getattr(found, figure), strict=True))
        kappa = (np.nan, np.nan, np.nan)
        if name in CEILED:
            kappa = fit_kappa(fitted, CEILED[name]), *kappa_interval(fitted, CEILED[name])
        rows.append(row | dict(zip(("kappa", "kappa_low", "kappa_high"), kappa, strict=True)))
    return xr.Dataset(
        {name: ("law", [row[name] for row in rows]) for name in rows[0]},
        {"law": list(LAWS)},
        {"half": half, "fitted": len(fitted), "judged": len(judged)},
    )
