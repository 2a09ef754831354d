"""All heads at once, as on a GPU, against one key head after the other, as on a CPU."""

import numpy as np
import pytest
import torch

from ropediag.capture import layer
from ropediag.capture.moments import sum_by_lag, sum_rest_by_lag
from ropediag.capture.partial import key_moments
from ropediag.capture.rows import Softmax, measure_contributions, measure_rows
from ropediag.capture.scratch import LIMIT, scratch_bytes
from ropediag.rope import pair_channels
from ropediag.schema import lag_edges

LENGTH, KV_HEADS, GROUP = 150, 3, 2
CHANNELS = pair_channels("half", 6, head_dim=8)
EDGES = lag_edges(LENGTH)
ROWS = np.array([0, 5, 40, 41, 90, 149])


def take_all(query, key, sinks, window):
    """Everything that is measured of some heads, by name."""
    lags = window or LENGTH
    sums = sum_by_lag(query, key, CHANNELS, EDGES, lags)
    mean, variance = key_moments(query, key, torch.tensor([0, 3, 4], device=key.device), window)
    return {
        **vars(sums),
        "rest": sum_rest_by_lag(query, key, np.array([6, 7]), EDGES, lags),
        "mean": mean.cpu().numpy(),
        "variance": variance.cpu().numpy(),
        **measure_rows(query, key, ROWS, Softmax(window, 5.0, sinks), EDGES),
        **measure_contributions(query, key, CHANNELS, ROWS, lag_edges(LENGTH, 2), lags),
    }


@pytest.mark.parametrize("window", [None, 30])
@pytest.mark.parametrize("scratch", [2**24, 2**15, 1])
def test_all_heads_at_once_give_what_each_key_head_gives(monkeypatch, window, scratch):
    monkeypatch.setitem(LIMIT, "cpu", scratch)
    random = torch.Generator().manual_seed(0)
    query = torch.randn(KV_HEADS * GROUP, LENGTH, 8, generator=random)
    key = torch.randn(KV_HEADS, LENGTH, 8, generator=random)
    sinks = torch.randn(KV_HEADS * GROUP, generator=random)
    together = take_all(query, key, sinks, window)
    for shared in range(KV_HEADS):
        heads = slice(shared * GROUP, (shared + 1) * GROUP)
        alone = take_all(query[heads], key[shared : shared + 1], sinks[heads], window)
        for name, values in alone.items():
            np.testing.assert_allclose(together[name][heads], values, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("heads", [[0, 1, 2, 3, 4, 5], [0, 2, 4], [1, 4, 5]])
def test_every_head_is_in_one_piece_with_its_key_head(heads):
    for device in ("cpu", "meta"):
        pieces = layer._share_out(heads, GROUP, torch.device(device))
        assert [head for _, part in pieces for head in part] == heads
        for shared, part in pieces:
            group = len(part) // len(shared)
            assert [head // GROUP for head in part] == [one for one in shared for _ in range(group)]
    assert len(pieces) == (2 if heads == [1, 4, 5] else 1)


def test_a_gpus_scratch_memory_is_a_part_of_what_is_free(monkeypatch):
    free = {"mem_get_info": (2**30, 2**34), "memory_reserved": 3 * 2**30, "memory_allocated": 2**30}
    for name, value in free.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert scratch_bytes(torch.device("cuda")) == 3 * 2**30 // 4
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**40, 2**40))
    assert scratch_bytes(torch.device("cuda")) == LIMIT["cuda"]
    assert scratch_bytes(torch.device("cpu")) == LIMIT["cpu"]
