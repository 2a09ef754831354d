"""The CPU's kernels are settled wherever a first forward pass may follow.

The race itself, in about 1 of 100 first passes on two threads, is too rare to wait for here.
"""

import numpy as np
import pytest
import torch

import ropediag
from ropediag.models.kernels import settle_kernels
from ropediag.models.rotation import measure_rotation
from ropediag.testing.tiny import tiny_model


@pytest.mark.parametrize("starts", ["load", "measure", "evaluate"])
def test_a_first_pass_finds_the_kernels_settled(starts):
    model = None if starts == "load" else tiny_model("llama")
    settle_kernels.cache_clear()
    if starts == "load":
        ropediag.load_model("demo")
    elif starts == "measure":
        measure_rotation(model, np.arange(4))
    else:
        ropediag.evaluate_model(model, torch.arange(1, 33)[None], train_len=16)
    assert settle_kernels.cache_info().currsize == 1
