"""The laws: what a base and a training length promise about longer contexts.

Pure functions of NumPy arrays and numbers; nothing here knows about models, files or plots. Axis
``pair`` runs from the fastest rotary pair to the slowest, NaN pads it and counts nowhere. Angles are
radians, periods and lengths tokens, frequencies radians per token. A base is ``rope_theta``, above 1;
``rotary_dim`` is the rotated part of a head, in dimensions, two to a pair, never head_dim.

``turns`` is the share of a turn that counts as trained: a pair is trained if ``turns * period <=
train_len``. The paper's is 1; a fitted kappa enters as ``1 / kappa``. All functions raise ConfigError
for a base not above 1, an odd rotary_dim, a length below 2 tokens or ``turns`` not above 0; those that
compare a longer length with pretraining also where it is shorter, or pretraining trained no pair.

Source: Liu et al. 2023, arXiv:2310.05209 (equations 12 to 16), on how far the angles stay familiar. How far
attention can prefer a similar key is another question: ``retrieval_bound`` has it, report them side by side.
"""

import math

import numpy as np
from jaxtyping import Float

from ropediag.errors import ConfigError

FITTED_TURNS = 0.82  # fitted to small models and judged on others: docs/trained-turn.md


def critical_pair(inv_freq: Float[np.ndarray, " pair"], train_len: int, turns: float = 1.0) -> int:
    """Count the pairs trained in pretraining: for falling frequencies, the first one that was not.

    ``inv_freq`` are those of *pretraining*, before any change of base; 0 means the pair never turns.
    """
    _check(lengths={"train_len": train_len}, turns=turns)
    return int(np.sum(turns * 2 * np.pi <= train_len * inv_freq))


def critical_dimension(inv_freq: Float[np.ndarray, " pair"], train_len: int, turns: float = 1.0) -> int:
    """Count the dimensions trained in pretraining, ``2 * critical_pair``: arguments as there.

    Lemma 1 of arXiv:2310.05209; counting periods stays valid for scaled frequencies.
    """
    return 2 * critical_pair(inv_freq, train_len, turns)


def critical_dimension_closed_form(rotary_dim: int, base: float, train_len: int, turns: float = 1.0) -> int:
    """Evaluate ``2 ceil(rotary_dim/2 log_base(train_len / 2 pi turns))``, at most rotary_dim (eq. 13)."""
    _check(bases={"base": base}, lengths={"train_len": train_len}, turns=turns, rotary_dim=rotary_dim)
    exponent = math.log(train_len / (2 * math.pi * turns)) / math.log(base)
    return min(rotary_dim, max(0, 2 * math.ceil(rotary_dim / 2 * exponent)))


def tuned_critical_dimension(rotary_dim: int, base: float, tune_len: int, turns: float = 1.0) -> int:
    """Count the dimensions trained by tuning alone, under the tuned base (16c, at most rotary_dim)."""
    _check(bases={"base": base}, rotary_dim=rotary_dim)
    return critical_dimension(_plain_inv_freq(rotary_dim, base), tune_len, turns)


def critical_base(pretrain_base: float, train_len: int, tune_len: int, turns: float = 1.0) -> float:
    """Compute the base up to which tuning retrains every pair pretraining had trained (equation 16a).

    Without a ceiling, as printed and as released checkpoints use it; ``pretrain_base`` for equal lengths.
    """
    _check_tuning(pretrain_base, train_len, tune_len, turns)
    full_turn = 2 * math.pi * turns
    return _raise(pretrain_base, math.log(tune_len / full_turn) / math.log(train_len / full_turn))


def extrapolation_limit(
    rotary_dim: int,
    base: float,
    pretrain_base: float,
    train_len: int,
    tune_len: int | None = None,
    turns: float = 1.0,
    ceiled: bool = True,
) -> float | None:
    """Compute the longest length the extended law allows after tuning with another base.

    Above the critical base it is the period, under ``base``, of the first pair that pretraining left
    untrained (equation 16b); at or below it, ``tune_len`` (16c); so for an unmodified base the tuning
    length, which is the training length if nothing was tuned.

    Parameters
    ----------
    tune_len : int, tokens; ``train_len`` if not given
    ceiled : bool; False drops the ceiling: ``2 pi (train_len / 2 pi turns) ** log_pretrain_base(base)``

    Returns
    -------
    float, tokens, or None: no bound of this kind, because pretraining or tuning trained every pair
    """
    tune_len = train_len if tune_len is None else tune_len
    tuned = tuned_critical_dimension(rotary_dim, base, tune_len, turns)
    _check(bases={"pretrain_base": pretrain_base})
    trained = critical_dimension(_plain_inv_freq(rotary_dim, pretrain_base), train_len, turns)
    if rotary_dim in (trained, tuned):
        return None
    if base <= critical_base(pretrain_base, train_len, tune_len, turns):
        return float(tune_len)
    exponent = trained / rotary_dim
    if not ceiled:
        exponent = math.log(train_len / (2 * math.pi * turns)) / math.log(pretrain_base)
    return max(float(tune_len), 2 * math.pi * _raise(base, exponent))


def fitted_limit(
    rotary_dim: int, base: float, pretrain_base: float, train_len: int, tune_len: int | None = None
) -> float | None:
    """Compute the limit if a pair counts as trained after ``FITTED_TURNS``, without a ceiling.

    Fitted to limits of small models, read at an excess of 0.3 nats, and judged on others, on which it errs
    less than the paper's law; what it is worth for large ones is not known. ``docs/trained-turn.md`` says how
    much less, and why the share is more of the threshold than of the pairs. As ``extrapolation_limit``.
    """
    return extrapolation_limit(
        rotary_dim, base, pretrain_base, train_len, tune_len, turns=FITTED_TURNS, ceiled=False
    )


def stretched_limit(
    untuned_limit: float, pair: float, rotary_dim: int, base: float, pretrain_base: float
) -> float:
    """Compute the limit after tuning with another base, in tokens, from what the untuned model showed.

    ``untuned_limit * (base / pretrain_base) ** (2 pair / rotary_dim)``: the measured limit of the untuned
    model, stretched as the other base stretches the pair at which its drift begins. For bases above the
    critical one; nothing is fitted. Its errors on small models are in ``docs/trained-turn.md``.

    Parameters
    ----------
    pair : at which drift begins in the untuned model, between pairs as ``interpolate_onset`` finds it
    """
    _check(bases={"base": base, "pretrain_base": pretrain_base}, rotary_dim=rotary_dim)
    return untuned_limit * math.exp(2 * pair / rotary_dim * math.log(base / pretrain_base))


def angle_range_limit(
    inv_freq: Float[np.ndarray, " pair"],
    pretrain_inv_freq: Float[np.ndarray, " pair"],
    train_len: int,
    turns: float = 1.0,
) -> float | None:
    """Find the length at which a pair untrained in pretraining leaves the angles it saw there.

    In tokens, for scaled frequencies (interpolation, YaRN, Llama 3); None if there is no such pair.
    """
    _check(lengths={"train_len": train_len}, turns=turns)
    untrained = (inv_freq > 0) & (turns * 2 * np.pi > train_len * pretrain_inv_freq)
    if not untrained.any():
        return None
    return float(np.min(train_len * pretrain_inv_freq[untrained] / inv_freq[untrained]))


def base_for_length(
    rotary_dim: int, pretrain_base: float, train_len: int, target_len: int, turns: float = 1.0
) -> float:
    """Compute the smallest base whose *ceiled* limit reaches ``target_len``.

    The inverse of equation 16b, below ``critical_base_for_length``; valid where it exceeds the critical
    base of the tuning length.
    """
    _check_tuning(pretrain_base, train_len, target_len, turns)
    _check(rotary_dim=rotary_dim)
    trained = critical_dimension(_plain_inv_freq(rotary_dim, pretrain_base), train_len, turns)
    return _raise(target_len / (2 * math.pi), rotary_dim / trained)


def critical_base_for_length(
    pretrain_base: float, train_len: int, target_len: int, turns: float = 1.0
) -> float:
    """Compute the smallest base whose *unceiled* limit reaches ``target_len``, the cautious choice.

    For ``turns`` of 1 this is ``critical_base`` with ``target_len`` as tuning length.
    """
    _check_tuning(pretrain_base, train_len, target_len, turns)
    exponent = math.log(train_len / (2 * math.pi * turns)) / math.log(pretrain_base)
    return _raise(target_len / (2 * math.pi), 1 / exponent)


def small_base_thresholds(tune_len: int) -> tuple[float, float, float]:
    """Compute the bases whose slowest period ``tune_len`` covers to 1/4, 1/2 and 1 (Theorem 1)."""
    _check(lengths={"tune_len": tune_len})
    return 2 * tune_len / math.pi, tune_len / math.pi, tune_len / (2 * math.pi)


def coverage(inv_freq: Float[np.ndarray, "*layer pair"], train_len: int) -> Float[np.ndarray, "*layer pair"]:
    """Compute the share of a turn each pair makes within ``train_len``: 0 to 1, NaN where padded."""
    _check(lengths={"train_len": train_len})
    return np.minimum(1.0, train_len * inv_freq / (2 * np.pi))


def new_angle_fraction(
    inv_freq: Float[np.ndarray, "*layer pair"], train_len: int, length: int
) -> Float[np.ndarray, "*layer pair"]:
    """Compute the share of a turn each pair shows within ``length`` but not within ``train_len``.

    New by cosine and sine together: either alone runs out of new values earlier.
    """
    return np.maximum(0.0, coverage(inv_freq, length) - coverage(inv_freq, train_len))


def _raise(number: float, exponent: float) -> float:
    try:
        return number**exponent
    except OverflowError as error:
        raise ConfigError(
            f"the law gives no finite number here: {number:.4g} to the power of {exponent:.4g}. The training "
            "length is too close to a single turn of the fastest pair; pass that of pretraining."
        ) from error


def _plain_inv_freq(rotary_dim: int, base: float) -> Float[np.ndarray, " pair"]:
    return float(base) ** (-np.arange(0, rotary_dim, 2) / rotary_dim)


def _check_tuning(pretrain_base: float, train_len: int, longer: int, turns: float) -> None:
    _check(
        {"pretrain_base": pretrain_base}, {"train_len": train_len, "tuned or wanted length": longer}, turns
    )
    if train_len <= 2 * math.pi * turns:
        raise ConfigError(
            f"train_len must exceed {2 * math.pi * turns:.4g} tokens, {turns:g} turns of the fastest pair: "
            f"got {train_len}. No pair is trained in so short a context; pass the length of pretraining."
        )
    if longer < train_len:
        raise ConfigError(
            f"the tuned or wanted length must be at least train_len, {train_len}: got {longer}. Pass a "
            "longer one: within train_len nothing new happens."
        )


def _check(
    bases: dict[str, float] | None = None,
    lengths: dict[str, int] | None = None,
    turns: float = 1.0,
    rotary_dim: int = 2,
) -> None:
    for name, base in (bases or {}).items():
        if not (math.isfinite(base) and base > 1):
            raise ConfigError(f"{name} must be a finite number above 1: got {base}. It is a rope_theta.")
    for name, length in (lengths or {}).items():
        if length < 2:
            raise ConfigError(f"{name} must be at least 2 tokens: got {length}. Pass a length in tokens.")
    if not (math.isfinite(turns) and turns > 0):
        raise ConfigError(f"turns must be above 0: got {turns}. 1 is the paper's full turn; 0.77 is 1/1.3.")
    if rotary_dim < 2 or rotary_dim % 2:
        raise ConfigError(f"rotary_dim must be positive and even, two to a pair: got {rotary_dim}.")
