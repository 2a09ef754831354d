"""Perplexity over key tokens: those that an evaluator predicts well with long context and badly without.

The mean over all tokens is ruled by those that need no more than a few before them, and hides what a model
makes of a long context. Fang et al. 2024, arXiv:2410.23771 (LongPPL), keep the tokens whose loss falls by
more than 2 nats, to less than 2, when an evaluator sees all of a long text instead of its last eighth. Here
long is what the evaluator was trained on, so that the choice never rests on a model past its limit.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ropediag.evaluate.perplexity import perplexity

GAIN = 2.0  # nats that long context must save the evaluator
MOST_LOSS = 2.0  # nats that may be left
SHORT_SHARE = 8  # the long context over the short one, as 32K over 4K in the paper


@dataclass(frozen=True)
class KeyTokens:
    """Perplexity over the key tokens of a text.

    Attributes
    ----------
    evaluator : name of the model that chose them
    long, short : tokens of the windows in which it read, for and against
    count : how many there are
    share : of all predicted tokens
    perplexity : of the evaluated model over them, whole text as context; None without a key token
    perplexity_windowed : likewise, with less than its training length of context
    """

    evaluator: str
    long: int
    short: int
    count: int
    share: float
    perplexity: float | None
    perplexity_windowed: float | None


def find_key_tokens(
    long: Float[np.ndarray, "sequence position"], short: Float[np.ndarray, "sequence position"]
) -> Bool[np.ndarray, "sequence position"]:
    """Choose the tokens that need long context, from an evaluator's loss with long and short one, nats."""
    return (short - long > GAIN) & (long < MOST_LOSS)


def short_window(long: int) -> int:
    """Tokens of the short window that goes with a long one, at least 2."""
    return max(2, long // SHORT_SHARE)


def score_key_tokens(
    key: Bool[np.ndarray, "sequence position"],
    nll: Float[np.ndarray, "sequence position"],
    nll_windowed: Float[np.ndarray, "sequence position"],
    evaluator: str,
    long: int,
) -> KeyTokens:
    """Take the perplexity over the key tokens from both losses of the evaluated model, nats."""
    found = bool(key.any())
    return KeyTokens(
        evaluator=evaluator,
        long=long,
        short=short_window(long),
        count=int(key.sum()),
        share=float(key.sum() / np.isfinite(nll).sum()),
        perplexity=perplexity(nll[key]) if found else None,
        perplexity_windowed=perplexity(nll_windowed[key]) if found else None,
    )
