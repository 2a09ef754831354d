"""Mean and variance over keys by running sums, against the logits written out."""

import numpy as np
import pytest
import torch

from ropediag.capture.partial import average_bins, key_moments


@pytest.mark.parametrize("window", [None, 1, 7, 128, 200, 5000])
@pytest.mark.parametrize("length", [1, 130, 515])
def test_key_moments_match_the_written_out_logits(length, window):
    random = np.random.default_rng(length)
    query, key = random.standard_normal((2, length, 6)), random.standard_normal((length, 6)) + 3
    channels = [0, 2, 5]
    mean, variance = key_moments(torch.tensor(query), torch.tensor(key)[None], torch.tensor(channels), window)
    logits = np.einsum("htc,sc->hts", query[..., channels], key[:, channels])
    for t in range(length):
        seen = logits[:, t, max(0, t + 1 - (window or length)) : t + 1]
        np.testing.assert_allclose(mean[:, t], seen.mean(-1), atol=1e-9)
        np.testing.assert_allclose(variance[:, t], seen.var(-1), atol=1e-8)


def test_no_channels_contribute_nothing():
    mean, variance = key_moments(torch.ones(1, 9, 4), torch.ones(1, 9, 4), torch.tensor([], dtype=torch.long))
    assert not mean.any()
    assert not variance.any()


def test_bins_average_their_positions():
    values = torch.arange(10.0)[None].double()
    assert average_bins(values, [0, 3, 4]).tolist() == [[1.0, 3.0, 6.5]]
