"""Norms, mean pre-rotary vectors and their inverse rotation, against the definitions."""

import numpy as np
import torch

from ropediag.capture.vectors import measure_vectors, unrotate
from ropediag.rope import inv_freq, pair_channels, rotate
from ropediag.schema import position_edges


def test_unrotating_gives_back_what_was_rotated():
    random = np.random.default_rng(0)
    channels, frequencies = pair_channels("interleaved", 6, head_dim=8, offset=2), inv_freq(6, 1e4)
    still = random.standard_normal((2, 500, 8))
    positions = np.arange(500)
    turned = rotate(still, positions, frequencies, channels, 1.25)
    back = unrotate(torch.tensor(turned), torch.tensor(positions), frequencies, channels, 1.25)
    np.testing.assert_allclose(back[..., 2:], still[..., 2:], atol=1e-5)
    np.testing.assert_allclose(back[..., :2], still[..., :2], atol=1e-6)  # not rotated, not scaled


def test_norms_and_mean_vectors_match_their_definitions():
    random = np.random.default_rng(1)
    channels, frequencies = pair_channels("half", 8), inv_freq(8, 100.0)
    still = random.standard_normal((3, 333, 8)) + 0.7
    turned = rotate(still, np.arange(333), frequencies, channels)
    edges = position_edges(333, 16)
    found = measure_vectors(torch.tensor(turned), frequencies, channels, edges)
    vectors = still[..., channels[:, 0]] + 1j * still[..., channels[:, 1]]  # (head, position, pair)
    rms = np.sqrt((np.abs(vectors) ** 2).mean(1))
    np.testing.assert_allclose(found["offset"], np.abs(vectors.mean(1)) / rms, rtol=1e-4)
    np.testing.assert_allclose(found["phase"], np.angle(vectors.mean(1)), atol=1e-4)
    for bin_, (start, stop) in enumerate(zip(edges, [*edges[1:], 333], strict=True)):
        slow = np.sqrt((np.abs(vectors[:, start:stop]) ** 2).mean(1))
        np.testing.assert_allclose(found["norm"][..., bin_], slow, rtol=1e-4)


def test_a_pair_whose_vectors_are_all_zero_has_no_offset():
    still = np.random.default_rng(2).standard_normal((2, 50, 8))
    still[..., [1, 5]] = 0  # pair 1
    found = measure_vectors(torch.tensor(still), inv_freq(8, 100.0), pair_channels("half", 8), [0, 25])
    assert (found["offset"][:, 1] == 0).all()
    assert (found["norm"][:, 1] == 0).all()
    assert (found["offset"][:, [0, 2, 3]] > 0).all()
