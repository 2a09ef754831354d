"""Low perplexity is not retrieval: where the two were measured and disagree, one plain sentence says so.

A model can keep its loss low far out by reading only what is near, and find nothing that stands far back
(Men et al. 2024, arXiv:2405.14591, of small bases).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ropediag.evaluate.retrieval import Recall
from ropediag.tune.measure import share_interval

KEPT = 0.5  # of the recall inside the training length, above chance: below it, retrieval counts as lost


@dataclass(frozen=True)
class RecallAt:
    """Recall at one length, over all depths: right answers of those asked for."""

    length: int
    hits: int
    count: int

    @property
    def share(self) -> float:
        """Hits among all, 0 to 1."""
        return self.hits / self.count


def find_disagreements(limit: int | None, train_len: int, recall: Sequence[Recall]) -> tuple[str, ...]:
    """Compare the loss with each task's recall over all depths; arguments as for ``find_disagreement``."""
    found = []
    for each in recall:
        sums = zip(each.lengths, each.hits.sum(1).tolist(), each.count.sum(1).tolist(), strict=True)
        known = [RecallAt(length, hits, count) for length, hits, count in sums if count]
        found.append(find_disagreement(limit, train_len, known, each.chance))
    return tuple(sentence for sentence in found if sentence)


def find_disagreement(
    limit: int | None, train_len: int, recall: Sequence[RecallAt], chance: float
) -> str | None:
    """Compare how far the loss holds with how far recall does.

    Parameters
    ----------
    limit : position from which more context harms the loss, tokens; None if nowhere in the text
    train_len : tokens
    recall : at rising lengths, each with answers asked for
    chance : share that is right by guessing

    Returns
    -------
    One sentence, or None where they agree, or where recall was not measured on both sides of ``train_len``
    """
    inside = [at for at in recall if at.length <= train_len]
    beyond = [at for at in recall if at.length > train_len]
    if not inside or not beyond:
        return None
    base = share_interval(sum(at.hits for at in inside), sum(at.count for at in inside))
    if base.low <= chance:
        return (
            f"Recall tells nothing of length here: within the training length it is {base.value:.0%}, "
            f"no better than chance ({chance:.0%})."
        )
    kept = {at.length: at.share - chance >= KEPT * (base.value - chance) for at in beyond}
    for at in beyond:
        if (limit is None or at.length <= limit) and not kept[at.length]:
            return (
                f"Low perplexity is not retrieval here: at {at.length:,} tokens the loss still holds, but "
                f"recall has fallen from {base.value:.0%} to {at.share:.0%}."
            )
    for at in reversed(beyond):
        if limit is not None and at.length > limit and kept[at.length]:
            return (
                f"Recall outlasts the loss here: more context harms the loss from position {limit:,} on, "
                f"but at {at.length:,} tokens recall is {at.share:.0%}, after {base.value:.0%} inside "
                "the training length."
            )
    return None
