"""Print the vector instructions that NumPy would choose on this processor, for NPY_DISABLE_CPU_FEATURES."""

from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

if __name__ == "__main__":
    print(" ".join(name for name in __cpu_dispatch__ if __cpu_features__[name]))
