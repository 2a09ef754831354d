"""Analysis: one diagnostic a file, from arrays to what they say. NumPy and SciPy; never torch."""
