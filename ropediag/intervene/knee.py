"""The knee of a pair: all slow pairs held at a safe lag, one let go step by step.

Each chosen pair is limited at ``SAFE`` times its own trained reach. Then one pair, in every layer and head,
gets a longer lag, one multiple of its reach after the other. What the loss rises by is the damage of that
pair alone: where it sets in is its knee.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ropediag.errors import ConfigError
from ropediag.intervene.pair_set import PairSet
from ropediag.intervene.repair import mean_interval
from ropediag.intervene.subject import Subject
from ropediag.tune.measure import Estimate

SAFE = 0.7  # times each pair's trained reach
STEPS = (0.7, 0.85, 0.95, 1.0, 1.05, 1.15, 1.3, 2.0)  # times the reach of the pair that is let go


@dataclass(frozen=True)
class Knee:
    """The damage of one pair that may turn up to a multiple of its reach, all others held.

    Attributes
    ----------
    pair : let go in every layer and head
    at : multiple of its trained reach
    damage : nats, mean over the positions past the smallest reach, with its interval over sequences
    """

    pair: int
    at: float
    damage: Estimate


def measure_knees(
    subject: Subject, chosen: PairSet, pairs: Sequence[int], say: Callable[[str], None]
) -> tuple[Knee, ...]:
    """Let one pair go after the other.

    Parameters
    ----------
    subject : the model and its tokens
    chosen : the pairs that are held, with their reaches
    pairs : those that are let go, some of the chosen ones
    say : told about progress

    Raises
    ------
    ConfigError
        If a pair is none of those chosen.
    """
    if not pairs:
        return ()
    held = {pair for own in chosen.pairs.values() for pair in own}
    for pair in pairs:
        if pair not in held:
            raise ConfigError(f"pair {pair} is not among the pairs that are limited: {sorted(held)}.")
    past = slice(int(np.ceil(min(chosen.reaches()))), None)
    base = subject.changed_loss(chosen, multiple=SAFE)[:, past]
    knees = []
    for pair in pairs:
        for at in STEPS:
            loss = subject.changed_loss(let_go(chosen, pair, at / SAFE), multiple=SAFE)[:, past]
            knees.append(Knee(pair, at, mean_interval((loss - base).mean(axis=1, dtype=np.float64))))
        say(f"knee of pair {pair}: {len(STEPS)} lags")
    return tuple(knees)


def let_go(chosen: PairSet, pair: int, factor: float) -> PairSet:
    """Multiply the reach of one pair by a factor, in every layer and head."""
    reach = {
        place: {other: value * (factor if other == pair else 1.0) for other, value in own.items()}
        for place, own in (chosen.reach or {}).items()
    }
    return PairSet(chosen.pairs, reach)
