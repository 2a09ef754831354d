"""Position scores: values known for content-free vectors, and single triples written out lag by lag."""

import cmath

import numpy as np
import pytest

from ropediag import open_capture
from ropediag.analysis.heads import key_head_index
from ropediag.analysis.position_scores import (
    LAGS,
    SEED,
    Sweep,
    draw_triples,
    list_reaches,
    mean_change,
    measure_position_scores,
    plan_sweep,
    share_reversed,
)
from ropediag.errors import ConfigError
from ropediag.rope import inv_freq
from tests.analysis.captures import EXAMPLE


@pytest.mark.parametrize(
    ("base", "reach", "reversed_", "change"),
    [
        (1e4, 4096, 0.102295, 0.13804674),
        (1e4, 16_384, 0.514465, 0.13895711),
        (5e5, 65_536, 0.020676, 0.12016680),
        (1e6, 65_536, 0.004181, 0.11780229),
    ],
)
def test_values_of_content_free_vectors(base, reach, reversed_, change):
    """All 64 products 1 and every lag: exact values that do not depend on a model."""
    sweep = Sweep(np.array([reach]), np.arange(reach), np.full((1, reach), 1 / reach))
    ones, frequencies = np.ones((1, 64), dtype=complex), inv_freq(128, base)
    assert share_reversed(ones, np.zeros(1), frequencies, sweep)[0, 0] == pytest.approx(reversed_, abs=2e-5)
    assert mean_change(ones, frequencies, sweep)[0, 0] == pytest.approx(change, abs=1e-5)


def test_scores_of_random_products_equal_the_sweep_written_out():
    random = np.random.default_rng(0)
    products = random.normal(size=(5, 4)) + 1j * random.normal(size=(5, 4))
    constant, frequencies = random.normal(size=5), np.array([1.0, 0.2, 0.03, 0.0])
    sweep = plan_sweep(np.array([40, 100]), random)
    assert sweep.lags.tolist() == list(range(100))
    found = share_reversed(products, constant, frequencies, sweep)
    changed = mean_change(products, frequencies, sweep)

    def logit(row, lag):
        turned = (z * cmath.exp(1j * lag * f) for z, f in zip(products[row], frequencies, strict=True))
        return sum(turned).real + constant[row]

    for row in range(5):
        for place, reach in enumerate((40, 100)):
            opposite = [logit(row, lag) * logit(row, 0) < 0 for lag in range(reach)]
            assert found[row, place] == pytest.approx(np.mean(opposite))
            steps = [abs(logit(row, lag + 1) - logit(row, lag)) for lag in range(reach)]
            size = np.sqrt(np.sum(abs(products[row]) ** 2))
            assert changed[row, place] == pytest.approx(np.mean(steps) / size, rel=1e-5)


def test_few_lags_are_all_evaluated_and_many_once_in_each_stretch():
    sweep = plan_sweep(np.array([LAGS, 9 * LAGS]), np.random.default_rng(0))
    assert sweep.lags[:LAGS].tolist() == list(range(LAGS))
    assert ((sweep.lags[LAGS:] - LAGS) // 8).tolist() == list(range(LAGS))
    np.testing.assert_allclose(sweep.weights[0, :LAGS], 1 / LAGS)
    np.testing.assert_allclose(sweep.weights[1, LAGS:], 8 / (9 * LAGS))


def test_a_sweep_of_some_lags_comes_near_all_of_them():
    random = np.random.default_rng(1)
    products = random.normal(size=(200, 32)) + 1j * random.normal(size=(200, 32))
    frequencies, reaches = inv_freq(64, 1e4), np.array([128, 1024, 8192])
    some = plan_sweep(reaches, random)
    weights = np.stack([(np.arange(8192) < reach) / reach for reach in reaches])
    every = Sweep(reaches, np.arange(8192), weights)
    assert len(some.lags) == 3 * LAGS
    np.testing.assert_allclose(some.weights.sum(-1), 1)
    for measure in (lambda sweep: share_reversed(products, np.zeros(200), frequencies, sweep),
                    lambda sweep: mean_change(products, frequencies, sweep)):  # fmt: skip
        few, all_ = measure(some), measure(every)
        np.testing.assert_allclose(few.mean(0), all_.mean(0), atol=0.01)


def test_reaches_double_from_the_training_length_to_the_length():
    assert list_reaches(128, 1000).tolist() == [128, 256, 512, 1000]
    assert list_reaches(128, 256).tolist() == [128, 256]
    assert list_reaches(0, 300).tolist() == [300]
    assert list_reaches(512, 300).tolist() == [300]


def test_triples_are_three_positions_of_training_and_the_last_one_asks():
    samples = np.array([0, 1, 2, 4, 8, 16, 32, 64])
    triples = draw_triples(samples, 33, 3, np.random.default_rng(0))
    positions = samples[triples]
    assert (positions[..., 0] > positions[..., 1:].max(-1)).all()
    assert (positions[..., 1] != positions[..., 2]).all()
    assert set(positions.ravel()) == {1, 2, 4, 8, 16, 32}
    with pytest.raises(ConfigError, match="three sampled positions"):
        draw_triples(np.array([0, 5]), 10, 1, np.random.default_rng(0))


def test_a_head_s_score_is_the_mean_over_its_triples():
    layer, head = 1, 1
    with open_capture(EXAMPLE) as capture:
        found = measure_position_scores(capture).load()
        query, key = capture.values("samples/query"), capture.values("samples/key")
        owner, samples, spec = key_head_index(capture), capture.values("sample"), capture.spec()
    generator = np.random.default_rng(SEED)
    triples = draw_triples(samples, 128, 8, generator)
    sweep = plan_sweep(list_reaches(128, 8192), generator)
    swept, weights = sweep.lags[sweep.lags < 1024], sweep.weights[3, sweep.lags < 1024]
    means, left_out = [], []
    for sequence in range(8):
        wins = []
        for asking, one, other in triples[sequence]:
            q, k = (side.astype(float) for side in (query[sequence, layer, head],
                                                    key[sequence, layer, owner[head]]))  # fmt: skip
            products = [
                (q[asking, :32] + 1j * q[asking, 32:]) * (k[place, :32] - 1j * k[place, 32:])
                for place in (one, other)
            ]
            left_out.append(np.linalg.norm(k[one] - k[other]) < 1e-4 * np.linalg.norm(k[one]))
            if left_out[-1]:
                continue
            lags = np.exp(1j * np.outer([0, *swept], spec.inv_freq[layer]))
            difference = ((products[0] - products[1]) * lags).sum(-1).real
            wins.append(np.sum(weights * (difference[1:] * difference[0] >= 0)))
        means.append(np.mean(wins))
    at = {"layer": layer, "query_head": head, "reach": 1024}
    assert float(found.semantic_score.sel(at)) == pytest.approx(np.mean(means), abs=1e-4)
    assert sum(left_out) > 0  # some of the 64 triples have the same byte twice
    error = np.std(means, ddof=1) / np.sqrt(8)
    assert float(found.semantic_score_se.sel(at)) == pytest.approx(error, abs=1e-4)
