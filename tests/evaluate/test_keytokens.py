"""Key tokens: chosen one by one as the paper says, and their perplexity."""

import math

import numpy as np
import pytest

from ropediag.evaluate.keytokens import find_key_tokens, score_key_tokens, short_window

RANDOM = np.random.default_rng(0)
LONG, SHORT, OWN, OWN_WINDOWED = RANDOM.uniform(0, 6, (4, 3, 200)).astype("f4")
for losses in (LONG, SHORT, OWN, OWN_WINDOWED):
    losses[:, 0] = np.nan


def test_a_token_is_key_if_long_context_saves_two_nats_and_leaves_less_than_two():
    key = find_key_tokens(LONG, SHORT)
    for place in np.ndindex(key.shape):
        assert key[place] == (SHORT[place] - LONG[place] > 2 and LONG[place] < 2)
    assert 0 < key.sum() < key.size


def test_perplexity_is_over_the_key_tokens_alone():
    key = find_key_tokens(LONG, SHORT)
    found = score_key_tokens(key, OWN, OWN_WINDOWED, "judge", 128)
    chosen = [OWN[place] for place in np.ndindex(key.shape) if key[place]]
    windowed = [OWN_WINDOWED[place] for place in np.ndindex(key.shape) if key[place]]
    assert found.perplexity == pytest.approx(math.exp(sum(map(float, chosen)) / len(chosen)))
    assert found.perplexity_windowed == pytest.approx(math.exp(sum(map(float, windowed)) / len(windowed)))
    assert (found.count, found.share) == (len(chosen), len(chosen) / (3 * 199))
    assert (found.evaluator, found.long, found.short) == ("judge", 128, 16)


def test_without_a_key_token_there_is_no_perplexity():
    found = score_key_tokens(find_key_tokens(LONG, LONG), OWN, OWN_WINDOWED, "judge", 128)
    assert (found.count, found.perplexity, found.perplexity_windowed) == (0, None, None)


@pytest.mark.parametrize(("long", "short"), [(32_768, 4096), (128, 16), (9, 2), (2, 2)])
def test_the_short_window_is_an_eighth_of_the_long_one(long, short):
    assert short_window(long) == short
