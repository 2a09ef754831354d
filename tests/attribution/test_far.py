"""Products over spans of lags against one (query, key) pair after the other."""

import numpy as np
import pytest
import torch

from ropediag.attribution.far import FIRST_KEYS, FarPass, FarTables, GateGradient
from ropediag.intervene.lag_limits import LAG_MAPS, lag_line
from ropediag.intervene.selection import Target
from ropediag.schema import lag_edges
from tests.intervene.test_lag_limits import map_slowly

LENGTH, HEADS, DIM = 90, 2, 12


@pytest.mark.parametrize("kind", LAG_MAPS)
@pytest.mark.parametrize("limit", [0.4, 7.3, 12.0, 200.0])
def test_a_lag_counts_as_its_line_says(kind, limit):
    lag = torch.arange(60.0, dtype=torch.float64)
    slope, offset = lag_line(kind, lag, limit)
    torch.testing.assert_close(slope * lag + offset, LAG_MAPS[kind](lag, limit))
    assert set(slope.tolist()) <= {1, 0 if kind == "clip" else -1}


def build(kind, seed):
    """Random vectors, frequencies and limits of four of six pairs."""
    generator = np.random.default_rng(seed)
    channels = np.stack([np.arange(6), np.arange(6) + 6], 1)
    frequency = np.sort(generator.uniform(0.01, 1.5, 6))[::-1].copy()
    limits = {pair: float(generator.uniform(3, 60)) for pair in (1, 2, 4, 5)}
    target = Target(0, frequency, channels, {0: tuple(limits)}, {0: limits})
    vectors = torch.from_numpy(generator.normal(size=(2, HEADS, LENGTH, DIM)))
    return target, limits, *vectors


def hold_back(target, limits, kind, query, key):
    """What each pair contributes as it is less what it does at the lag that counts, (head, query, key)."""
    lag = torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)
    held = {}
    for pair, limit in limits.items():
        slowly = torch.tensor([map_slowly(kind, one, limit) for one in range(LENGTH)], dtype=torch.float64)
        angle = (slowly[lag.clamp(min=0)] - lag) * target.inv_freq[pair]
        (a, b), (c, d) = ((part[..., target.channels[pair]]).unbind(-1) for part in (query, key))
        dot = a[:, :, None] * c[:, None] + b[:, :, None] * d[:, None]
        cross = a[:, :, None] * d[:, None] - b[:, :, None] * c[:, None]
        own = dot - (dot * angle.cos() + cross * angle.sin())
        held[pair] = torch.where(lag > limit, own, torch.zeros_like(own))
    return held


@pytest.mark.parametrize("kind", LAG_MAPS)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("begin", [0, 31])
def test_spans_hold_what_single_pairs_do(kind, seed, begin):
    target, limits, query, key = build(kind, seed)
    edges = lag_edges(LENGTH)
    tables = FarTables.build(target, limits, kind, LENGTH, edges)
    far = FarPass(tables, query[:, begin:], key, begin)
    weight = torch.from_numpy(np.random.default_rng(9).normal(size=(HEADS, LENGTH, LENGTH)))
    found = torch.zeros(HEADS, LENGTH, LENGTH, dtype=torch.float64)
    shape = HEADS, len(limits)
    gradient = GateGradient(
        *(torch.zeros(*each, dtype=torch.float64) for each in ((*shape, len(edges)), shape))
    )
    slow = hold_back(target, limits, kind, query, key)
    for start in range(begin, LENGTH, 17):
        stop = min(start + 17, LENGTH)
        for part in far.parts(slice(0, HEADS), start, stop, 0):
            found[:, start:stop, part.low : part.high] += part.product()
            own = part.keep(weight[:, start:stop, part.low : part.high].clone())
            far.backward(part, own, 1.0, gradient, False)
    torch.testing.assert_close(found[:, begin:], sum(slow.values())[:, begin:])
    lag = torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)
    bins = torch.from_numpy(np.searchsorted(edges, lag.clamp(min=0).numpy(), "right") - 1)
    for place, pair in enumerate(limits):
        own = (weight * slow[pair])[:, begin:]
        for number in range(len(edges)):
            expected = own[:, bins[begin:] == number].sum(-1)
            torch.testing.assert_close(gradient.by_lag[:, place, number], expected)
        torch.testing.assert_close(gradient.first_keys[:, place], own[..., :FIRST_KEYS].sum((1, 2)))
