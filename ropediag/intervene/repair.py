"""How much of the damage an intervention repairs, with intervals over sequences and over random sets.

The damage at a token is its excess: the loss with the full context minus the loss with less than the training
length of it. It is counted from the *trained* length on, the longer of training and tuning length, since lags
below that were seen. The windows stay those of the training length, so that the excess is that of all other
commands, and a tuned model's compares with its parent's. The share repaired, over some positions of all
sequences, is

    sum(nll_full - nll_changed) / sum(nll_full - nll_windowed)

so 0 is the untouched model and 1 is as good as windowed attention; below 0 it does harm. It is a ratio of
sums over sequences, and so is its standard error (Cochran 1977, Sampling Techniques, section 6.4), taken to
Student's t. NumPy and scipy only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from ropediag.analysis.attribution import TESTED
from ropediag.tune.measure import Estimate

TAIL = 4  # the tail of a stretch is its last part of this many
Loss = Float[np.ndarray, "sequence position"]


@dataclass(frozen=True)
class Repair:
    """What an intervention repairs up to a multiple of the trained length.

    Attributes
    ----------
    multiple : of the trained length
    at : multiple of each pair's trained reach at which its lag was limited; None where the intervention does
        not go by it
    start, stop : positions from start to stop - 1: all past the trained length, up to the multiple
    nll_full, nll_windowed, nll_changed : mean loss there, nats
    damage : nll_full - nll_windowed, with its interval over sequences
    repaired : share of the damage; None if the damage is not above zero, at 95 % with 4 sequences or more
    repaired_tail : the same over the last quarter of these positions alone
    random : share that each random set repairs
    above_random : repaired minus the mean of random; interval over sequences and random sets. None without
        random sets; with one of them, over sequences only
    """

    multiple: float
    start: int
    stop: int
    nll_full: float
    nll_windowed: float
    nll_changed: float
    damage: Estimate
    repaired: Estimate | None
    repaired_tail: Estimate | None
    random: tuple[float, ...]
    above_random: Estimate | None
    at: float | None = None


def multiples_up_to(trained: int, length: int) -> tuple[float, ...]:
    """List 2, 4, 8, ... times the trained length below the length, and the length itself."""
    whole = length / trained
    doublings = (2.0**power for power in range(1, math.ceil(math.log2(whole))))
    return (*doublings, whole)


def measure_repair(
    full: Loss,
    windowed: Loss,
    changed: Loss,
    random: Sequence[Loss],
    trained: int,
    multiple: float,
    at: float | None = None,
) -> Repair:
    """Measure the share repaired at one multiple of the trained length.

    Parameters
    ----------
    full, windowed, changed : losses of the same tokens, nats
    random : the losses under each random set
    trained : tokens, the longer of training and tuning length
    multiple : of it, above 1
    at : multiple of the reach at which ``changed`` and ``random`` were measured
    """
    stop = round(multiple * trained)
    past, tail = slice(trained, stop), stop - max(1, (stop - trained) // TAIL)
    damage = _sums(full - windowed, past)
    estimate = mean_interval(damage / (stop - trained))
    damaged = estimate.value > 0 and (estimate.low > 0 or len(full) < TESTED)
    gains = np.array([_sums(full - other, past) for other in random])
    mine = _sums(full - changed, past)
    return Repair(
        multiple=multiple,
        start=trained,
        stop=stop,
        nll_full=float(full[:, past].mean(dtype=np.float64)),
        nll_windowed=float(windowed[:, past].mean(dtype=np.float64)),
        nll_changed=float(changed[:, past].mean(dtype=np.float64)),
        damage=estimate,
        repaired=ratio_interval(mine, damage) if damaged else None,
        repaired_tail=share_repaired(full, windowed, changed, tail, stop) if damaged else None,
        random=tuple((gains.sum(1) / damage.sum()).tolist()) if damaged and len(gains) else (),
        above_random=difference_interval(mine - gains, damage) if damaged and len(gains) else None,
        at=at,
    )


def share_repaired(full: Loss, windowed: Loss, changed: Loss, start: int, stop: int) -> Estimate:
    """Measure the share repaired over positions start .. stop - 1, damaged or not."""
    where = slice(start, stop)
    return ratio_interval(_sums(full - changed, where), _sums(full - windowed, where))


def mean_interval(values: Float[np.ndarray, " sequence"]) -> Estimate:
    """Give a mean its 95 % interval by Student's t; unbounded with a single value."""
    mean, count = float(values.mean()), len(values)
    half = _spread(stats.sem(values), count - 1) if count > 1 else math.inf
    return Estimate(mean, mean - half, mean + half, count)


def ratio_interval(part: Float[np.ndarray, " sequence"], whole: Float[np.ndarray, " sequence"]) -> Estimate:
    """Give sum(part) / sum(whole) its 95 % interval over sequences; unbounded with a single one."""
    share, count = float(part.sum() / whole.sum()), len(part)
    half = _spread(_ratio_error(part, whole), count - 1) if count > 1 else math.inf
    return Estimate(share, share - half, share + half, count)


def difference_interval(
    gains: Float[np.ndarray, "set sequence"], whole: Float[np.ndarray, " sequence"]
) -> Estimate:
    """Give the mean over sets of sum(gains) / sum(whole) its 95 % interval over sequences and sets.

    Both are samples, so their squared errors are added, with Satterthwaite's degrees of freedom; what
    belongs to a set and a sequence together is counted twice, so the interval is rather too wide.

    Returns
    -------
    Estimate; count is sequences. Unbounded with a single sequence; with a single set, over sequences only
    """
    sets, count = gains.shape
    mean = float(gains.mean(0).sum() / whole.sum())
    if count == 1:
        return Estimate(mean, -math.inf, math.inf, count)
    squares = [(_ratio_error(gains.mean(0), whole) ** 2, count - 1)]
    if sets > 1:
        squares.append((float(stats.sem(gains.sum(1) / whole.sum())) ** 2, sets - 1))
    total = sum(square for square, _ in squares)
    known = sum(square**2 / freedom for square, freedom in squares)
    half = _spread(math.sqrt(total), total**2 / known) if known else 0.0
    return Estimate(mean, mean - half, mean + half, count)


def _ratio_error(part: np.ndarray, whole: np.ndarray) -> float:
    """Standard error of sum(part) / sum(whole), by linearisation."""
    return float(stats.sem(part - part.sum() / whole.sum() * whole) / whole.mean())


def _spread(error: float, freedom: int | float) -> float:
    return float(stats.t.ppf(0.975, freedom) * error)


def _sums(losses: Loss, positions: slice) -> Float[np.ndarray, " sequence"]:
    return losses[:, positions].sum(axis=1, dtype=np.float64)
