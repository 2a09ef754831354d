"""Eager attention in blocks of queries: the capture of the whole, and no array of length x length."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import ropediag
from ropediag.capture.check import check_blocks
from ropediag.models import blocks
from ropediag.models.blocks import lazy_masks, needs_blocks
from ropediag.models.tap import AttentionCall, tap_attention
from ropediag.testing.tiny import random_tokens, tiny_model
from tests.trials import only_long

LENGTH = 300


def eager_model(family, **overrides):
    model = tiny_model(family, **overrides)
    model.set_attn_implementation("eager")
    return model


class Largest(TorchDispatchMode):
    """Notes the most elements of any tensor that an operation gives back."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor) and tensor.device.type != "meta":
                self.elements = max(self.elements, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


@pytest.mark.parametrize("family", ["gemma2", "gpt_oss", "llama"])
@pytest.mark.parametrize("values", [4 * LENGTH, 4 * LENGTH * 70, 10**9])
def test_blocks_of_any_size_give_the_models_logits(family, values, monkeypatch):
    model, ids = eager_model(family), random_tokens(LENGTH)
    monkeypatch.setattr(blocks, "VALUES", values)
    with torch.no_grad():
        plain = model(ids, use_cache=False).logits
        with lazy_masks(), tap_attention(model, AttentionCall.attend):
            blocked = model(ids, use_cache=False).logits
        again = model(ids, use_cache=False).logits
    torch.testing.assert_close(blocked, plain, atol=2e-4, rtol=2e-4)
    assert torch.equal(again, plain)


@pytest.mark.parametrize("family", ["gemma2", "gpt_oss"])
def test_a_capture_in_blocks_is_the_capture_of_the_whole(family, tmp_path, monkeypatch):
    model, ids = eager_model(family), random_tokens(LENGTH)
    assert not needs_blocks(model, LENGTH)
    options = {"train_len": 48, "rows": 8, "name": family}
    whole = ropediag.capture_model(model, ids, tmp_path / "whole.h5", **options)
    monkeypatch.setattr("ropediag.models.blocks.LONGEST_SQUARE", 100)
    monkeypatch.setattr(blocks, "VALUES", 4 * LENGTH * 50)
    blocked = ropediag.capture_model(model, ids, tmp_path / "blocked.h5", **options)
    with ropediag.open_capture(whole) as one, ropediag.open_capture(blocked) as other:
        assert one.variables == other.variables
        for path in one.variables:
            if one.values(path).dtype.kind == "f":
                scale = np.nanmax(np.abs(one.values(path)), initial=1e-3)
                np.testing.assert_allclose(
                    other.values(path), one.values(path), atol=1e-3 * scale, err_msg=path
                )


@pytest.mark.parametrize("family", [only_long("gemma2"), "gpt_oss"])
def test_16384_tokens_without_an_array_of_length_by_length(family, tmp_path):
    layers = {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]}
    model, ids = eager_model(family, **layers), random_tokens(16384)
    with Largest() as largest:
        ropediag.capture_model(model, ids, tmp_path / "long.h5", train_len=512, rows=8, excess=False)
    assert blocks.VALUES / 4 < largest.elements < 16384**2 / 4


def test_models_that_do_something_else_with_their_mask_keep_it():
    assert check_blocks(eager_model("gemma2"), random_tokens(100))
    assert not check_blocks(eager_model("doge"), random_tokens(100))
