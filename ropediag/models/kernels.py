"""Settle which kernels the CPU's math library uses before several threads first ask for one.

Intel's MKL chooses the kernel of each elementary function at its first call. If that call comes from
several threads at once, as for the cosines of a process's first forward pass, one of them may run a
kernel of half the digits, once: https://github.com/pytorch/pytorch/issues/188792. An angle is then off
by up to 2e-4, in that pass only. A first call on one number, from one thread, rules it out.
"""

import functools

import torch

_FUNCTIONS = (
    torch.acos,
    torch.asin,
    torch.atan,
    torch.cos,
    torch.cosh,
    torch.erf,
    torch.erfc,
    torch.erfinv,
    torch.exp,
    torch.expm1,
    torch.log,
    torch.log10,
    torch.log1p,
    torch.log2,
    torch.rsqrt,
    torch.sin,
    torch.sinh,
    torch.sqrt,
    torch.tan,
    torch.tanh,
)


@functools.cache
def settle_kernels() -> None:
    """Call each elementary function once in both precisions; later calls of this function do nothing."""
    for dtype in (torch.float32, torch.float64):
        number = torch.full((1,), 0.5, dtype=dtype)
        for function in _FUNCTIONS:
            function(number)
