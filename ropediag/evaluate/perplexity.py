"""Perplexity, of one pass over the whole text and of sliding windows: two different numbers.

In one pass a token has all of the text before it as context, so the figure shows what length does to the
model. In sliding windows it never has more than a window, so a model that breaks past its training length
keeps a good figure as long as the window is short. Always say which of the two a perplexity is.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ropediag.models.loss import nll_windowed


@dataclass(frozen=True)
class SlidingPerplexity:
    """Perplexity of windows that slide over the text.

    Attributes
    ----------
    value : exp of the mean loss per token
    window, stride : tokens; a token has window - stride to window - 1 tokens before it, or all there are
    """

    value: float
    window: int
    stride: int


def perplexity(nll: Float[np.ndarray, "*axes"]) -> float:
    """Exp of the mean of a loss in nats; NaN (position 0) is left out."""
    return float(np.exp(np.nanmean(nll, dtype=np.float64)))


def sliding_perplexity(
    model: Any, input_ids: Int[Tensor, "sequence position"], window: int, stride: int, leading: int = 0
) -> SlidingPerplexity:
    """Measure perplexity in windows of ``window`` tokens, ``stride`` apart.

    Each token is scored once, in the first window that holds it, as in Press et al. 2022, arXiv:2108.12409.

    Parameters
    ----------
    model : a causal language model
    input_ids : (sequence, position)
    window, stride : tokens, 1 <= stride < window; a window longer than the text is the whole text
    leading : special tokens with which the sequences begin, repeated in every window

    Returns
    -------
    SlidingPerplexity
    """
    losses = [nll_windowed(model, ids, window, stride, leading=leading) for ids in torch.unbind(input_ids)]
    return SlidingPerplexity(perplexity(np.stack(losses)), window, stride)
