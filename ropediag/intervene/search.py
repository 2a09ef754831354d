"""A smallest set of pairs that still repairs a given share.

All 2^n sets cannot be tried. The search starts from the chosen pairs and takes away neighbours, first half
of them at once, then a quarter, down to single pairs (the delta debugging of Zeller and Hildebrandt 2002,
IEEE TSE 28), keeping each removal that leaves the share high enough. In the end no single pair can be taken
away. That is a smallest set in this sense only: another way might end in fewer.

A set chosen on some sequences looks better there than elsewhere, so the search sees every second sequence
only, and the share it reports is that of the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from ropediag.errors import ConfigError
from ropediag.intervene.pair_set import PairSet
from ropediag.intervene.repair import Loss, Repair, share_repaired
from ropediag.intervene.subject import Subject
from ropediag.tune.measure import Estimate


@dataclass(frozen=True)
class Search:
    """What a search for a smallest set found.

    Attributes
    ----------
    target : share of the damage that the set must repair
    multiple : of the trained length, at which it must
    pairs : the set; None where even all chosen pairs repair less
    runs : sets that were tried
    searched : share it repairs on the sequences of the search
    confirmed : the share on the other sequences, with its interval; None without a set or other sequences
    """

    target: float
    multiple: float
    pairs: tuple[int, ...] | None
    runs: int
    searched: float
    confirmed: Estimate | None


def search_smallest(
    subject: Subject,
    chosen: PairSet,
    full: Loss,
    windowed: Loss,
    at: Repair,
    say: Callable[[str], None],
) -> Search:
    """Look for a smallest set on every second sequence, and confirm it on the others.

    Parameters
    ----------
    subject : the model and its tokens; its config says which share is to be repaired
    chosen : the pairs to start from
    full, windowed : losses of the untouched model, nats
    at : what the chosen pairs repair at the multiple that counts
    say : told about each set

    Raises
    ------
    ConfigError
        If there is no damage.
    """
    target, config = subject.config.search, subject.config
    assert target is not None  # asked for by the caller
    if at.repaired is None:
        raise ConfigError("there is no damage to repair, so there is nothing to search for.")
    seen, unseen = slice(0, None, 2), slice(1, None, 2)

    def repair(pairs: tuple[int, ...], rows: slice) -> Estimate:
        changed = subject.changed_loss(chosen.keep(set(pairs)), subject.ids[rows])
        return share_repaired(full[rows], windowed[rows], changed, at.start, at.stop)

    @cache  # the search comes back to some sets
    def share(pairs: tuple[int, ...]) -> float:
        value = repair(pairs, seen).value
        say(f"search: a set of {len(pairs)} repairs {value:.1%}")
        return value

    union = sorted({pair for pairs in chosen.pairs.values() for pair in pairs})
    found, best, _ = find_smallest(union, share, target)
    runs = share.cache_info().currsize
    confirmed = repair(found, unseen) if found and config.sequences > 1 else None
    return Search(target, at.multiple, found, runs, best, confirmed)


def find_smallest(
    pairs: Sequence[int], share: Callable[[tuple[int, ...]], float], target: float
) -> tuple[tuple[int, ...] | None, float, int]:
    """Take pairs away while the share stays at the target or above.

    Parameters
    ----------
    pairs : to start from
    share : measures the share that a set repairs
    target : the share that must stay

    Returns
    -------
    The set, None if even all pairs do not reach the target; its share; how many sets were measured
    """
    kept = tuple(pairs)
    best, runs = share(kept), 1
    if best < target:
        return None, best, runs
    size = max(1, len(kept) // 2)
    while True:
        place, removed = 0, False
        while place < len(kept):
            trial = kept[:place] + kept[place + size :]
            reached = share(trial) if trial else 0.0
            runs += bool(trial)
            if reached >= target:
                kept, best, removed = trial, reached, True
            else:
                place += size
        if size == 1 and not removed:
            return kept, best, runs
        size = max(1, size // 2)
