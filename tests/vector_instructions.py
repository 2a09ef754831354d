"""Print the vector instructions that NumPy would choose on this processor, for NPY_DISABLE_CPU_FEATURES."""

import os

import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

# Held to old instructions on a processor that has newer ones, torch raises an error on attention in bfloat16.
computes_bfloat16 = pytest.mark.skipif(
    os.environ.get("ATEN_CPU_CAPABILITY") == "default", reason="torch packs no bfloat16 without AVX-512"
)

if __name__ == "__main__":
    print(" ".join(name for name in __cpu_dispatch__ if __cpu_features__[name]))
