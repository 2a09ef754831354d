"""Perplexity of windows that slide, against one forward pass for each token."""

import math

import numpy as np
import pytest
import torch

from ropediag.evaluate.perplexity import perplexity, sliding_perplexity
from tests.families import tiny_model, tokens


def token_loss(model, context, target):
    with torch.no_grad():
        logits = model(context).logits[0, -1].double()
    return -torch.log_softmax(logits, 0)[target].item()


@pytest.mark.parametrize(("window", "stride"), [(8, 3), (8, 7), (5, 1), (50, 20)])
def test_each_token_is_scored_once_in_the_first_window_that_holds_it(window, stride):
    model, ids = tiny_model("llama"), torch.cat([tokens(23, seed=1), tokens(23, seed=2)])
    found, losses, length = sliding_perplexity(model, ids, window, stride), [], 23
    size = min(window, length)
    starts = [*range(0, length - size, stride), length - size]
    for row in ids:
        for t in range(1, length):
            start = next(start for start in starts if start <= t < start + size)
            losses.append(token_loss(model, row[None, start:t], row[t]))
    assert found.value == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-5)
    assert (found.window, found.stride) == (window, stride)


def test_a_window_over_the_whole_text_is_the_single_pass_and_a_shorter_one_is_not():
    model, ids = tiny_model("llama"), tokens(40)
    losses = [token_loss(model, ids[:, :t], ids[0, t]) for t in range(1, 40)]
    single = perplexity(np.array([math.nan, *losses]))
    assert sliding_perplexity(model, ids, 40, 20).value == pytest.approx(single, rel=1e-5)
    assert abs(sliding_perplexity(model, ids, 6, 3).value / single - 1) > 0.01
