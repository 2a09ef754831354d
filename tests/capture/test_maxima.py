"""Maxima of blocks against all query-key pairs written out."""

import numpy as np
import pytest
import torch

from ropediag.capture import maxima
from ropediag.capture.maxima import maximum_by_block
from ropediag.schema import BLOCKS, LEAST_BLOCK, block_size


def maximum_written_out(query, key, block, window):
    length = len(key)
    lag = np.arange(length)[:, None] - np.arange(length)
    logits = np.where((lag >= 0) & (lag < (window or length)), query.double() @ key.double().T, np.nan)
    count = -(-length // block)
    found = np.full((count, count), np.nan)
    for row in range(count):
        for column in range(count):
            part = logits[row * block : (row + 1) * block, column * block : (column + 1) * block]
            if not np.isnan(part).all():
                found[row, column] = np.nanmax(part)
    return found


@pytest.mark.parametrize("window", [None, 1, 7, 64, 200, 1000])
@pytest.mark.parametrize(("length", "block"), [(300, 16), (256, 64), (129, 1), (200, 256), (77, 8)])
def test_maxima_are_those_of_all_visible_pairs(monkeypatch, length, block, window):
    monkeypatch.setattr(maxima, "TILE", 64)  # several tiles on a short input
    random = torch.Generator().manual_seed(length)
    query, key = (torch.randn(length, 6, generator=random) for _ in range(2))
    found = maximum_by_block(query, key, block, window)
    expected = maximum_written_out(query, key, block, window)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_negative_logits_have_a_maximum_below_zero():
    """What fills the last block up to its size is not a key."""
    query, key = torch.ones(20, 4), -torch.ones(20, 4)
    found = maximum_by_block(query, key, 16)
    np.testing.assert_array_equal(found, [[-4, np.nan], [-4, -4]])


@pytest.mark.parametrize("length", [1, 16, 17, 16_384, 16_385, 65_536, 1_000_000])
def test_blocks_are_a_power_of_two_and_few(length):
    size = block_size(length)
    assert size >= LEAST_BLOCK
    assert size & (size - 1) == 0
    assert -(-length // size) <= BLOCKS
    assert size == LEAST_BLOCK or length > BLOCKS * size // 2, "no larger than need be"
