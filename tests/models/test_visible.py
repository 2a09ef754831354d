"""The window that a mask shows."""

import pytest
import torch

from ropediag.models.visible import shown_window

LENGTH = 50
LAG = torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)
CAUSAL = LAG >= 0
CHUNK = torch.arange(LENGTH) // 16
MASKS = {
    "all keys": (CAUSAL, None),
    "a window": (CAUSAL & (LAG < 12), 12),
    "chunks": (CAUSAL & (CHUNK[:, None] == CHUNK), None),  # the last query sees two keys
    "two alone": (CAUSAL & ((LAG == 0) | (LAG == 9)), None),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("boolean", [True, False])
def test_a_window_is_told_from_other_masks(name, boolean):
    mask, window = MASKS[name]
    mask = mask[None, None]
    mask = mask if boolean else torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    assert shown_window(mask) == window
