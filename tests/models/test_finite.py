"""One read of the memory finds what ``isfinite`` of every value finds."""

import pytest
import torch

from ropediag.models.finite import all_finite


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int8])
@pytest.mark.parametrize("shape", [(0,), (), (1,), (3, 70, 5), (1, 2, 300, 64)])
def test_finite_tensors(dtype, shape):
    x = (10 * torch.randn(shape)).to(dtype)
    assert all_finite(x)
    assert all_finite(x.transpose(0, -1)) if x.ndim else True
    assert all_finite(torch.nn.Parameter(x, requires_grad=dtype.is_floating_point))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 777, 2 * 300 * 64 - 1])
def test_one_value_anywhere_is_found(dtype, wrong, place):
    x = torch.randn(2 * 300 * 64).to(dtype)
    x[place] = wrong
    for view in (x, x.view(2, 300, 64).transpose(0, 1), x.view(2, 300, 64)[:, :, :].mT):
        assert not torch.isfinite(view).all()
        assert not all_finite(view)


def test_the_largest_value_is_finite_and_its_sum_need_not_be():
    assert all_finite(torch.full((1000,), torch.finfo(torch.float16).max, dtype=torch.float16))
