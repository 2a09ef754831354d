"""Pair norms against loops over bins and heads."""

import numpy as np

from ropediag import open_capture
from ropediag.analysis.heads import key_head_index
from ropediag.analysis.pair_norms import measure_pair_norms
from tests.analysis.captures import EXAMPLE


def test_norms_and_band_equal_the_sums_written_out():
    with open_capture(EXAMPLE) as capture:
        found = measure_pair_norms(capture).load()
        query, key = capture.values("vectors/query_norm"), capture.values("vectors/key_norm")
        edges, length = capture.values("norm_bin"), capture.attrs["length"]
        owner = key_head_index(capture)
    widths = np.diff([*edges, length])
    products = np.zeros((len(query), 32))
    layer, head = 2, 1
    for sequence in range(len(query)):
        for pair in range(32):
            q = sum(
                w * v**2
                for w, v in zip(widths, query[sequence, layer, head, pair].astype(float), strict=True)
            )
            k = sum(
                w * v**2
                for w, v in zip(widths, key[sequence, layer, owner[head], pair].astype(float), strict=True)
            )
            products[sequence, pair] = np.sqrt(q / length) * np.sqrt(k / length)
    mean = products.mean(0)
    at = {"layer": layer, "query_head": head}
    np.testing.assert_allclose(found["product"].sel(at), mean, rtol=1e-6)
    np.testing.assert_allclose(found.product_se.sel(at), products.std(0, ddof=1) / np.sqrt(8), rtol=1e-6)
    assert int(found.peak.sel(at)) == mean.argmax()
    np.testing.assert_allclose(found.centre.sel(at), (mean * np.arange(32)).sum() / mean.sum(), rtol=1e-6)
