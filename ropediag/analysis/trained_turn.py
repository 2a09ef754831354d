"""Which share of a turn trains a pair? Laws fitted on one half of a study's models and judged on the other.

The paper counts a pair as trained once pretraining has shown it a full turn. A law here is that count with
another share, with or without the paper's ceiling, or takes from the untuned parent how late it breaks, where
its drift begins or how far its pairs swing; each predicts the limit of a model with another base or scaling
rule, and is judged by |log(measured / predicted)|. Models of one parent share what a law gets wrong about it,
so intervals resample parents.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy
from jaxtyping import Bool, Float

from ropediag.errors import ConfigError
from ropediag.limits import extrapolation_limit, stretched_limit

KAPPAS = (0.2, 5.0)  # between which a fitted one lies
SHARES = np.linspace(0.0, 1.0, 101)  # quantiles, from which a fitted one is chosen
PERMUTATIONS = 100
RESAMPLES = 2000
LONGROPE2 = 2.7  # turns: the critical pairs that Shang et al. measured, 25 of Phi-3-mini and 30 of Llama-3-8B


@dataclass(frozen=True)
class TunedModel:
    """What a law is told of a model, and what was measured.

    Attributes
    ----------
    name, parent : of the model, and of the one it was tuned from
    rotary_dim : rotated dimensions of a head
    base, tune_len : of the tuning
    pretrain_base, train_len : of the parent
    onset_pair : fastest pair that drifts in the untuned parent; NaN where none does
    onset : where between that pair and the one before it the mean drift of the parent passes its least
    parent_limit : measured limit of the untuned parent, tokens
    measured : limit, tokens
    predicted : limit that ``ropediag predict`` gives, tokens; NaN where it sets none
    stretch : by which each pair turns slower than in the parent, by pair
    reach : trained reach of each pair, tokens; infinite for those that made a full turn
    swing : of each pair in the untuned parent, logits; empty where no capture measured it
    """

    name: str
    parent: str
    rotary_dim: int
    base: float
    tune_len: int
    pretrain_base: float
    train_len: int
    onset_pair: float
    onset: float
    parent_limit: float
    measured: float
    predicted: float = np.nan
    stretch: tuple[float, ...] = ()
    reach: tuple[float, ...] = ()
    swing: tuple[float, ...] = ()

    @property
    def lateness(self) -> float:
        """How far past its training length the untuned parent breaks: its limit over that length."""
        return self.parent_limit / self.train_len


@dataclass(frozen=True)
class Judgement:
    """How a law did: each figure with the ends of its 95 % interval.

    Attributes
    ----------
    mean, median, high : mean, median and 90th percentile of |log(measured / predicted)|
    ratio : geometric mean of measured over predicted
    count : models it made a prediction for
    """

    mean: tuple[float, float, float]
    median: tuple[float, float, float]
    high: tuple[float, float, float]
    ratio: tuple[float, float, float]
    count: int


def split(names: Sequence[str]) -> Bool[np.ndarray, " model"]:
    """Choose the half to fit on by a hash of each name, whatever was measured."""
    return np.array([hashlib.sha256(name.encode()).digest()[0] % 2 == 0 for name in names])


def predict_limits(
    models: Sequence[TunedModel], kappa: float = 1.0, ceiled: bool = False
) -> Float[np.ndarray, " model"]:
    """Predict every limit, tokens, by the extended law with ``1 / kappa`` turns; infinite if it has none."""
    limits = [
        _find_limit(
            one.rotary_dim, one.base, one.pretrain_base, one.train_len, one.tune_len, 1 / kappa, ceiled
        )
        for one in models
    ]
    return np.array([np.inf if limit is None else limit for limit in limits])


@lru_cache(maxsize=2**17)  # fits ask for the same limits again, with other measurements beside them
def _find_limit(*law: Any) -> float | None:
    return extrapolation_limit(*law)


def predict_from_drift(models: Sequence[TunedModel]) -> Float[np.ndarray, " model"]:
    """Predict every limit: the period, under the tuned base, of the pair that first drifts in the parent."""
    periods = [2 * np.pi * one.base ** (2 * one.onset_pair / one.rotary_dim) for one in models]
    return np.maximum(periods, [one.tune_len for one in models])


def predict_from_lateness(models: Sequence[TunedModel]) -> Float[np.ndarray, " model"]:
    """Predict every limit: the paper's without its ceiling, as late as the untuned parent; nothing fitted."""
    return predict_limits(models) * np.array([one.lateness for one in models])


def predict_by_stretch(models: Sequence[TunedModel], whole: bool = False) -> Float[np.ndarray, " model"]:
    """Predict every limit by ``stretched_limit``, from limit and onset of the parent; nothing fitted.

    ``whole`` takes the onset pair itself, instead of the place between it and the pair before.
    """
    limits = [
        stretched_limit(
            one.parent_limit,
            one.onset_pair if whole else one.onset,
            one.rotary_dim,
            one.base,
            one.pretrain_base,
        )
        for one in models
    ]
    return np.maximum(limits, [one.tune_len for one in models])


def predict_from_theory(models: Sequence[TunedModel]) -> Float[np.ndarray, " model"]:
    """Return the limits that ``ropediag predict`` gives; scaling rules have them as well."""
    return np.array([one.predicted for one in models])


def predict_by_first_reach(models: Sequence[TunedModel]) -> Float[np.ndarray, " model"]:
    """Predict every limit: the smallest trained reach, a lower bound."""
    return np.array([min(one.reach, default=np.nan) for one in models])


def predict_by_onset_stretch(models: Sequence[TunedModel]) -> Float[np.ndarray, " model"]:
    """As ``predict_by_stretch``, under any change of the frequencies; between pairs it is geometric."""
    stretched = [
        np.exp(np.interp(one.onset, np.arange(len(one.stretch)), np.log(one.stretch)))
        if one.stretch
        else np.nan
        for one in models
    ]
    return np.array([one.parent_limit for one in models]) * stretched


def predict_by_swing(
    models: Sequence[TunedModel],
    share: float = 0.5,
    late: bool = False,
    permuted: np.random.Generator | None = None,
) -> Float[np.ndarray, " model"]:
    """Predict every limit: the median trained reach of the pairs short of a turn, weighted by their swing.

    Parameters
    ----------
    share : another quantile than the median, 0 to 1; between pairs it is interpolated in the logarithm
    late : whether the limit is to be as late as that of the untuned parent
    permuted : shuffles the reaches among the pairs, which shows what the right ones are worth

    Returns
    -------
    tokens; NaN where every pair made a full turn or none of the others swings
    """
    found = []
    for one in models:
        reach, swing = np.array(one.reach), np.array(one.swing or [np.nan] * len(one.reach))
        short = np.isfinite(reach) & np.isfinite(swing)
        logs, weight = np.log(reach[short]), swing[short]
        if permuted is not None:
            logs = permuted.permutation(logs)
        order = np.argsort(logs)
        total = weight.sum()
        if not total > 0:
            found.append(np.nan)
            continue
        below = (weight[order].cumsum() - weight[order] / 2) / total
        reached = np.exp(np.interp(share, below, logs[order]))
        found.append(reached * one.lateness if late else reached)
    return np.array(found)


def fit_share(models: Sequence[TunedModel]) -> float:
    """Find the quantile whose limits, as late as the parent's, have the smallest mean |log error|."""
    losses = [np.nanmean(errors_of(models, predict_by_swing(models, share, True))) for share in SHARES]
    return float(SHARES[int(np.argmin(losses))])


def predict_by_permuted_swing(models: Sequence[TunedModel]) -> Float[np.ndarray, " model"]:
    """Predict as ``predict_by_swing`` with shuffled reaches: for each model the draw of median error."""
    random = np.random.default_rng(0)
    drawn = np.array([predict_by_swing(models, permuted=random) for _ in range(PERMUTATIONS)])
    errors = np.array([errors_of(models, each) for each in drawn])
    middle = np.argsort(errors, axis=0)[PERMUTATIONS // 2]
    return drawn[middle, np.arange(len(models))]


def fit_kappa(models: Sequence[TunedModel], ceiled: bool = False) -> float:
    """Find the kappa whose law has the smallest mean |log(measured / predicted)|.

    Raises
    ------
    ConfigError
        If no model has a measured limit.
    """
    measured = np.array([one.measured for one in models])
    if not np.isfinite(measured).any():
        raise ConfigError("a kappa takes models with a measured limit: got none.")

    def loss(log_kappa: float) -> float:
        return float(np.nanmean(errors_of(models, predict_limits(models, np.exp(log_kappa), ceiled))))

    grid = np.log(np.geomspace(*KAPPAS, 81))
    best = grid[int(np.argmin([loss(each) for each in grid]))]
    step = grid[1] - grid[0]
    found = scipy.optimize.minimize_scalar(loss, bounds=(best - step, best + step), method="bounded")
    return float(np.exp(found.x if found.fun <= loss(best) else best))


def fit_scale(models: Sequence[TunedModel], ceiled: bool) -> float:
    """Find the constant by which the paper's limits have the smallest mean |log(measured / predicted)|."""
    ratios = np.array([one.measured for one in models]) / predict_limits(models, ceiled=ceiled)
    return float(np.nanmedian(ratios))


def errors_of(
    models: Sequence[TunedModel], predicted: Float[np.ndarray, " model"]
) -> Float[np.ndarray, " model"]:
    """|log(measured / predicted)| of every model; infinite where none was predicted, NaN if not known."""
    return np.abs(np.log([one.measured for one in models]) - np.log(predicted))


def resample(models: Sequence[TunedModel], count: int = RESAMPLES) -> Iterator[list[int]]:
    """Draw parents with replacement, so many times; gives the places of all their models."""
    places: dict[str, list[int]] = {}
    for place, one in enumerate(models):
        places.setdefault(one.parent, []).append(place)
    groups, random = list(places.values()), np.random.default_rng(0)
    for _ in range(count):
        yield [place for index in random.integers(len(groups), size=len(groups)) for place in groups[index]]


def kappa_interval(
    models: Sequence[TunedModel], ceiled: bool = False, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Find the 95 % interval of a fitted kappa, over parents; to 0.8 %, on a grid."""
    grid = np.geomspace(*KAPPAS, 401)
    errors = np.array([errors_of(models, predict_limits(models, kappa, ceiled)) for kappa in grid])
    found = [grid[np.nanmean(errors[:, places], axis=1).argmin()] for places in resample(models, resamples)]
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


def judge(models: Sequence[TunedModel], predicted: Float[np.ndarray, " model"]) -> Judgement:
    """Judge predictions against what was measured."""
    errors = errors_of(models, predicted)
    ratios = np.log([one.measured for one in models]) - np.log(predicted)
    drawn = list(resample(models))
    places = np.full((len(drawn), max(map(len, drawn))), len(models))  # the rest leads to a NaN
    for row, each in zip(places, drawn, strict=True):
        row[: len(each)] = each

    def with_interval(
        values: Float[np.ndarray, " model"],
        summary: Callable[..., Any],
        finish: Callable[[float], float] = float,
    ) -> tuple[float, float, float]:
        found = summary(np.append(values, np.nan)[places], axis=1)
        low, high = np.nanquantile(found, [0.025, 0.975])
        return finish(summary(values)), finish(low), finish(high)

    return Judgement(
        mean=with_interval(errors, np.nanmean),
        median=with_interval(errors, np.nanmedian),
        high=with_interval(errors, lambda values, axis=None: np.nanquantile(values, 0.9, axis=axis)),
        ratio=with_interval(ratios, np.nanmean, lambda value: float(np.exp(value))),
        count=int(np.isfinite(errors).sum()),
    )
