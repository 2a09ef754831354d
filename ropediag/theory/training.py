"""What training showed each rotary pair: angles, trained reach, unseen lags, and the two limits that follow.

Training is a list of phases. A phase is a rotation, a sequence length and a window by layer; the lags below
both occur in it. In the model as it runs, a pair that made no full turn in any phase meets angles it never
showed from its *trained reach* on, and again in every later turn. NumPy only, exact. Intervals are half-open,
lags and lengths tokens, angles radians, frequencies radians per token; axis ``pair`` runs from the fastest
rotary pair to the slowest and is padded with NaN. ``turns`` is the share of a turn that counts as trained,
as in ``limits``; the paper's is 1.

Two numbers follow, which are never called by one name. ``predicted_limit`` is the law's (Liu et al. 2023,
arXiv:2310.05209, equations 16b and 16c; under scaling rules the smallest reach). ``first_reach`` is the
smallest trained reach: no pair meets a new angle before it, so it is a lower bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from ropediag import limits
from ropediag.errors import ConfigError
from ropediag.rope import check_base, inv_freq

ALL_LAGS = -1  # as a window
MOST_TURNS = 20_000  # of a pair, listed
SAME = 1e-5  # relative: frequencies that agree so well are equal but for the rounding of float32
WHOLE = 1e-6  # relative: a reach as near to a whole number of tokens is that number


@dataclass(frozen=True, eq=False)
class Phase:
    """One phase of training.

    Attributes
    ----------
    inv_freq : (layer, pair) rotation after any scaling rule; NaN where a layer has no such pair
    base : (layer,) ``rope_theta``; NaN where unknown or without RoPE
    length : tokens of a sequence
    window : (layer,) lags 0 to window - 1 are visible; ``ALL_LAGS``: all
    label : what to call it, such as pretraining or tuning
    source : where it is stated

    Raises
    ------
    ConfigError
        If a frequency is negative or infinite, a base not above 1, or a length or window too small.
    """

    inv_freq: Float[np.ndarray, "layer pair"]
    base: Float[np.ndarray, " layer"]
    length: int
    window: Int[np.ndarray, " layer"]
    label: str
    source: str

    def __post_init__(self) -> None:
        _check_rotation(self.inv_freq, self.base, self.window)
        if self.length < 2:
            raise ConfigError(f"the length of a phase must be at least 2 tokens: got {self.length}.")

    @property
    def span(self) -> Int[np.ndarray, " layer"]:
        """First lag, by layer, that does not occur in the phase."""
        return np.where(self.window == ALL_LAGS, self.length, np.minimum(self.window, self.length))


@dataclass(frozen=True)
class PredictedLimit:
    """The law's limit in tokens, None for no bound; in words, what sets it.

    ``assumes_tuning`` where the rotation in use occurs in no phase: the law is about tuned models.
    """

    value: float | None
    law: str
    assumes_tuning: bool

    def describe(self) -> str:
        """Write the limit in words, without what sets it."""
        if self.value is None:
            return "no bound"
        return f"{self.value:,.0f} tokens" + (" (assumes tuning)" if self.assumes_tuning else "")


@dataclass(frozen=True, eq=False)
class Training:
    """All phases of a model's training, beside the rotation that runs now; everything else follows.

    Attributes
    ----------
    phases : at least one, oldest first
    inv_freq, base, window : the rotation and windows in use, shaped as in ``Phase``

    Raises
    ------
    ConfigError
        If there is no phase, or its layers or pairs are not those of the model.
    """

    phases: tuple[Phase, ...]
    inv_freq: Float[np.ndarray, "layer pair"]
    base: Float[np.ndarray, " layer"]
    window: Int[np.ndarray, " layer"]

    def __post_init__(self) -> None:
        _check_rotation(self.inv_freq, self.base, self.window)
        if not self.phases:
            raise ConfigError("the list of training phases is empty. Give at least one, such as len=4096.")
        for phase in self.phases:
            if phase.inv_freq.shape != self.inv_freq.shape:
                raise ConfigError(
                    f"phase {phase.label!r} has (layers, pairs) {phase.inv_freq.shape}, the model "
                    f"{self.inv_freq.shape}. A phase needs one frequency for each pair of the model."
                )

    @cached_property
    def angle(self) -> Float[np.ndarray, "layer pair"]:
        """Angle that each pair reached in training, radians."""
        return np.max([phase.inv_freq * phase.span[:, None] for phase in self.phases], axis=0)

    @property
    def turns(self) -> Float[np.ndarray, "layer pair"]:
        """Turns that each pair made in training; from 1 on it showed the whole circle."""
        return self.angle / (2 * np.pi)

    @property
    def period(self) -> Float[np.ndarray, "layer pair"]:
        """Tokens of a turn in the model as it runs; infinite for a pair that never turns."""
        with np.errstate(divide="ignore"):
            return 2 * np.pi / self.inv_freq

    def reach(self, turns: float = 1.0) -> Float[np.ndarray, "layer pair"]:
        """Compute the trained reach: the first lag at an unseen angle; infinite where there is none."""
        turning = self.inv_freq > 0  # neither NaN nor a pair that never turns
        rotation = np.where(turning, self.inv_freq, 1.0)
        spans = [
            np.where(turning, phase.inv_freq / rotation, 0.0) * phase.span[:, None] for phase in self.phases
        ]
        found = np.max(spans, axis=0)
        nearest = np.rint(found)
        found = np.where(np.abs(found - nearest) <= WHOLE * nearest, nearest, found)
        found = np.maximum(found, np.finfo(float).tiny)  # every pair has seen lag 0
        found = np.where(self.trained(turns) | (self.inv_freq == 0), np.inf, found)
        return np.where(np.isnan(self.inv_freq), np.nan, found)

    def take(self, layers: Sequence[int]) -> "Training":
        """Return the training of some layers alone, by their index."""
        at = list(layers)
        phases = tuple(
            replace(phase, inv_freq=phase.inv_freq[at], base=phase.base[at], window=phase.window[at])
            for phase in self.phases
        )
        return Training(phases, self.inv_freq[at], self.base[at], self.window[at])

    def trained(self, turns: float = 1.0) -> Bool[np.ndarray, "layer pair"]:
        """Return which pairs made a full turn, or the share that counts as one, in some phase."""
        return self.turns >= turns

    def critical_pair(self, turns: float = 1.0) -> Int[np.ndarray, " layer"]:
        """Find the first pair without a full turn; the number of pairs if all made one, -1 without RoPE."""
        real = ~np.isnan(self.inv_freq)
        short = real & ~self.trained(turns)
        first = np.where(short.any(1), short.argmax(1), real.sum(1))
        return np.where(real.any(1), first, -1)

    def first_reach(self, turns: float = 1.0) -> float | None:
        """Compute the smallest reach among lags the model sees, tokens; None without unseen angles."""
        reach = self.reach(turns)
        sees = np.where(self.window == ALL_LAGS, np.inf, self.window)[:, None]
        met = reach[np.isfinite(reach) & (reach < sees)]
        return float(met.min()) if met.size else None

    def meets_unseen(self, length: int, turns: float = 1.0) -> Bool[np.ndarray, "layer pair"]:
        """Return which pairs meet an unseen angle in ``length`` tokens: at a lag that their layer sees."""
        sees = np.where(self.window == ALL_LAGS, length, np.minimum(self.window, length))
        return self.reach(turns) <= sees[:, None] - 1

    def is_unseen(
        self, lags: Int[np.ndarray, " lag"], turns: float = 1.0
    ) -> Bool[np.ndarray, "layer pair lag"]:
        """Return which lags turn each pair to an angle that training never showed."""
        reach, period = self.reach(turns)[..., None], self.period[..., None]
        with np.errstate(invalid="ignore"):
            return np.isfinite(reach) & (np.mod(lags, period) >= reach)

    def split_bins(
        self, start: Int[np.ndarray, " bin"], stop: Int[np.ndarray, " bin"], turns: float = 1.0
    ) -> tuple[Bool[np.ndarray, "layer pair bin"], Bool[np.ndarray, "layer pair bin"]]:
        """Find the bins of lags ``start`` to ``stop - 1`` that are all seen, and those that are all unseen.

        A bin with lags of both kinds is in neither. Where a layer has no such pair, no bin is.
        """
        reach, period = self.reach(turns)[..., None], self.period[..., None]
        with np.errstate(invalid="ignore"):
            first = np.mod(start, period)
        last = first + (stop - 1 - start)
        seen = (last < reach) | np.isinf(reach)
        unseen = np.isfinite(reach) & (first >= reach) & (last < period)
        return seen & ~np.isnan(reach), unseen

    def unseen_intervals(
        self, layer: int, pair: int, length: int, turns: float = 1.0
    ) -> list[tuple[float, float]]:
        """List the intervals of lags below ``length`` at which a pair is turned to unseen angles."""
        return unseen_intervals(
            float(self.reach(turns)[layer, pair]), float(self.period[layer, pair]), length
        )

    def predicted_limit(self, turns: float = 1.0) -> PredictedLimit:
        """Compute the law's limit for the layers that see furthest; the smallest where they differ."""
        rotating = ~np.isnan(self.inv_freq).all(1)
        sees = np.where(self.window == ALL_LAGS, np.inf, self.window.astype(float))
        widest = np.flatnonzero(rotating & (sees == sees[rotating].max(initial=0)))
        if not len(widest):
            return PredictedLimit(None, "no layer rotates", assumes_tuning=False)
        found = [self._predict_layer(layer, turns) for layer in self.distinct(widest.tolist())]
        return min(found, key=lambda limit: np.inf if limit.value is None else limit.value)

    def distinct(self, layers: Sequence[int]) -> list[int]:
        """Leave out layers whose rotations and spans, in use and in training, another has too."""
        at = list(layers)
        rows = [self.inv_freq[at]] + [phase.inv_freq[at] for phase in self.phases]
        spans = [phase.span[at][:, None] for phase in self.phases]
        _, first = np.unique(np.nan_to_num(np.hstack([*rows, *spans]), nan=-1.0), axis=0, return_index=True)
        return [at[index] for index in sorted(first.tolist())]

    def _predict_layer(self, layer: int, turns: float) -> PredictedLimit:
        own = [phase for phase in self.phases if self._turns_as_now(phase, layer)]
        value, law = self._apply_law(layer, own, turns)
        window = int(self.window[layer])
        if window != ALL_LAGS and (value is None or value >= window):
            value, law = None, f"no lag exceeds the window of {window:,} tokens"
        return PredictedLimit(value, law, assumes_tuning=not own)

    def _turns_as_now(self, phase: Phase, layer: int) -> bool:
        """Return whether a phase had the rotation in use: the same base, or the same scaled frequencies."""
        bases = [find_base(each.inv_freq[layer], each.base[layer]) for each in (self, phase)]
        if None in bases:
            return same_rotation(phase.inv_freq[layer], self.inv_freq[layer])
        return bases[0] == bases[1]

    def _apply_law(self, layer: int, own: Sequence[Phase], turns: float) -> tuple[float | None, str]:
        reach = self.reach(turns)[layer]
        if not np.isfinite(reach).any():
            return None, "training covered every pair"
        base = find_base(self.inv_freq[layer], self.base[layer])
        found = [find_base(phase.inv_freq[layer], phase.base[layer]) for phase in self.phases]
        bases = {phase: value for phase, value in zip(self.phases, found, strict=True) if value is not None}
        if base is None or len(bases) < len(self.phases):
            return float(np.nanmin(reach)), "the smallest trained reach, under scaled frequencies"
        tune_len = max((int(phase.span[layer]) for phase in own), default=0)
        earlier = [phase for phase in self.phases if phase not in own]
        if not earlier:
            return float(tune_len), "unmodified base: the training length"
        pretraining = max(earlier, key=lambda phase: self._count_trained(phase, layer, turns))
        train_len, size = int(pretraining.span[layer]), 2 * int(np.sum(~np.isnan(reach)))
        tune_len = max(tune_len, train_len)
        if base < bases[pretraining]:
            return None, "the base lies below that of pretraining, where the law sets no limit"
        limit = limits.extrapolation_limit(size, base, bases[pretraining], train_len, tune_len, turns)
        if limit is None:
            return None, "training covered every pair"
        if limit > tune_len:
            return limit, "period of the first untrained pair under the tuned base (equation 16b)"
        return limit, "base not above the critical base: the tuning length, a soft limit (equation 16c)"

    def _count_trained(self, phase: Phase, layer: int, turns: float) -> tuple[int, int]:
        """Count the pairs that one phase alone trained; among equals the longest counts more."""
        shown = phase.inv_freq[layer] * phase.span[layer] / (2 * np.pi)
        return int(np.sum(shown >= turns)), int(phase.span[layer])


def plain_training(
    rotary_dim: int, base: float, pretrain_base: float, train_len: int, tune_len: int | None = None
) -> Training:
    """Build the training of one layer of plain RoPE: pretraining, and tuning where ``tune_len`` is given.

    Raises
    ------
    ConfigError
        If a number is out of range.
    """
    window = np.array([ALL_LAGS])

    def phase(value: float, length: int, label: str) -> Phase:
        return Phase(inv_freq(rotary_dim, value)[None], np.array([value]), length, window, label, "numbers")

    phases = [phase(pretrain_base, train_len, "pretraining")]
    if tune_len is not None:
        phases.append(phase(base, tune_len, "tuning"))
    return Training(tuple(phases), inv_freq(rotary_dim, base)[None], np.array([base]), window)


def unseen_intervals(reach: float, period: float, length: int) -> list[tuple[float, float]]:
    """List the intervals of lags below ``length``, tokens, at which a pair stands at unseen angles.

    Parameters
    ----------
    reach : trained reach, tokens; infinite or NaN for none
    period : tokens of a turn

    Raises
    ------
    ConfigError
        If there are more than ``MOST_TURNS``.
    """
    found: list[tuple[float, float]] = []
    if reach < length and (length - reach) / period > MOST_TURNS:
        raise ConfigError(
            f"{length:,} tokens hold over {MOST_TURNS:,} turns of a pair whose trained reach is {reach:,.0f} "
            "tokens: too many to list. State a longer training, or read fewer tokens."
        )
    start = reach
    while start < length:  # false for NaN and for infinity
        found.append((start, min(start - reach + period, float(length))))
        start += period
    return found


def same_rotation(one: Float[np.ndarray, " pair"], other: Float[np.ndarray, " pair"]) -> bool:
    """Return whether two rotations are equal, but for the rounding of float32."""
    return bool(np.allclose(one, other, rtol=SAME, atol=0.0, equal_nan=True))


def find_base(rotation: Float[np.ndarray, " pair"], stated: float = np.nan) -> float | None:
    """Find the base of plain RoPE that these frequencies are those of; None for scaled ones.

    NTK-aware scaling is a change of base, so it gives its larger base.

    Parameters
    ----------
    rotation : of one layer, radians per token, NaN where padded
    stated : the base that a config states, returned where it fits; NaN where none does
    """
    real = rotation[~np.isnan(rotation)]
    size = 2 * len(real)
    if stated > 1 and same_rotation(real, inv_freq(size, stated)):
        return float(stated)
    if len(real) < 2 or not 0 < real[1] < 1:
        return None
    found = float(real[1] ** (-size / 2))
    return found if np.isfinite(found) and same_rotation(real, inv_freq(size, found)) else None


def _check_rotation(
    rotation: Float[np.ndarray, "layer pair"],
    base: Float[np.ndarray, " layer"],
    window: Int[np.ndarray, " layer"],
) -> None:
    real = rotation[~np.isnan(rotation)]
    if not (np.isfinite(real).all() and (real >= 0).all()):
        raise ConfigError(f"frequencies must be finite and at least 0: got {real.min()} to {real.max()}.")
    for value in base[~np.isnan(base)]:
        check_base(float(value), "the base of a phase")
    if ((window < 1) & (window != ALL_LAGS)).any():
        raise ConfigError(f"a window must be at least 1 token, or {ALL_LAGS} for all: got {window.min()}.")
