"""A GPU gives what the CPU gives: the statistics of the same vectors, and whole captures."""

import h5py
import numpy as np
import pytest
import torch

import ropediag
from tests.capture.test_grouped_heads import GROUP, KV_HEADS, LENGTH, take_all
from tests.families import tiny_model, tokens

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


@pytest.mark.parametrize("window", [None, 30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_statistics_of_the_same_vectors_are_the_same(dtype, window):
    random = torch.Generator().manual_seed(0)
    query = torch.randn(KV_HEADS * GROUP, LENGTH, 8, generator=random).to(dtype).float()
    key = torch.randn(KV_HEADS, LENGTH, 8, generator=random).to(dtype).float()
    sinks = torch.randn(KV_HEADS * GROUP, generator=random)
    slow = take_all(query, key, sinks, window)
    fast = take_all(query.cuda(), key.cuda().to(dtype), sinks.cuda(), window)
    for name, values in slow.items():
        np.testing.assert_allclose(fast[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("family", ["llama", "cohere2", "gemma2", "gpt_oss"])
def test_a_capture_is_the_same(tmp_path, family):
    model, ids = tiny_model(family), tokens(300)
    found = {}
    for device in ("cpu", "cuda"):
        path = tmp_path / f"{device}.h5"
        ropediag.capture_model(model.to(device), ids.to(device), path, train_len=48, keep_qk=((0, 1),))
        with h5py.File(path) as file:
            found[device] = read_numbers(file)
    assert found["cpu"].keys() == found["cuda"].keys()
    for name, values in found["cpu"].items():
        spread = np.nanmax(np.abs(values), initial=0.0)
        np.testing.assert_allclose(
            found["cuda"][name], values, rtol=2e-3, atol=2e-4 * spread + 1e-6, err_msg=name
        )


def read_numbers(file: h5py.File) -> dict[str, np.ndarray]:
    """All floating-point arrays of a file, but for angles, which jump by a turn."""
    arrays = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and "phase" not in name:
            arrays[name] = item[...]

    file.visititems(visit)
    return arrays
