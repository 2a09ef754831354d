"""What it takes to reach a length: the base, the tuning length, and the retrieval bound beside them.

Lengths are tokens.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ropediag import limits
from ropediag.errors import ConfigError
from ropediag.retrieval_bound import SEARCHED, bm_base_range
from ropediag.theory.phases import TrainingHistory
from ropediag.theory.training import Training, find_base

CANDIDATES = 108  # bases tried for the retrieval bound, 24 to a decade


@dataclass(frozen=True)
class Target:
    """A length to reach, tokens, and whether to search the bases that keep B_m >= 0 up to it."""

    length: int
    retrieval: bool = True


@dataclass(frozen=True)
class TargetAnswer:
    """What it takes to reach ``length``; bases are None where none is needed, found or searched.

    ``base`` is the smallest that the law's ceiled form allows when tuned at ``tune_len``, ``cautious_base``
    that of the unceiled form; ``retrieval_base`` the smallest searched base with B_m >= 0 all the way,
    ``retrieval_base_all`` the one from which every larger searched base has it. ``unseen_pairs`` counts the
    untrained pairs that meet new angles at ``length`` as things stand.
    """

    length: int
    reached: bool
    unseen_pairs: int
    tune_len: int
    base: float | None
    cautious_base: float | None
    retrieval_base: float | None
    retrieval_base_all: float | None


def answer_target(
    target: Target, limit: float | None, training: Training, history: TrainingHistory, turns: float
) -> TargetAnswer:
    """Answer which base and tuning length reach a target.

    The bases hold for tuning plain RoPE at the length of the last phase; tuning at that length itself needs
    none.

    Parameters
    ----------
    limit : predicted limit of the model as it stands, tokens; None for no bound
    training : of one layer
    history : the phases as they are stated

    Raises
    ------
    ConfigError
        If the target is below 2 tokens.
    """
    target_len = target.length
    if target_len < 2:
        raise ConfigError(f"target_len must be at least 2 tokens: got {target_len}.")
    reach, size = training.reach(turns)[0], 2 * training.inv_freq.shape[1]
    needed = cautious = None
    train_len, pretrain_base = (
        history.train_len,
        find_base(training.phases[0].inv_freq[0], history.pretrain_base),
    )
    tune_len = max(train_len, history.tune_len)
    if target_len > tune_len and pretrain_base is not None and np.isfinite(reach).any():
        floor = limits.critical_base(pretrain_base, train_len, tune_len, turns)
        least = limits.base_for_length(size, pretrain_base, train_len, target_len, turns)
        needed = max(floor, least)
        cautious = max(floor, limits.critical_base_for_length(pretrain_base, train_len, target_len, turns))
    searched = target.retrieval and target_len <= SEARCHED
    retrieval, retrieval_all = search_retrieval_base(size, target_len) if searched else (None, None)
    return TargetAnswer(
        length=target_len,
        reached=limit is None or limit >= target_len,
        unseen_pairs=int((reach < target_len).sum()),
        tune_len=tune_len,
        base=needed,
        cautious_base=cautious,
        retrieval_base=retrieval,
        retrieval_base_all=retrieval_all,
    )


@lru_cache(maxsize=256)  # depends on these two numbers alone, and takes up to a second
def search_retrieval_base(rotary_dim: int, length: int) -> tuple[float | None, float | None]:
    """Search the smallest base with B_m >= 0 up to a length, and that from which all larger ones have it.

    Around the power law of arXiv:2405.14591, which was fitted to heads of 128; None where none was found.
    """
    guess = 0.0424 * length**1.628
    candidates = np.geomspace(max(2.0, guess / 30), max(100.0, guess * 1000), CANDIDATES)
    return bm_base_range(rotary_dim, length, candidates)
