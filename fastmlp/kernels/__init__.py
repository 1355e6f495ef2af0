"""Compiled numerics. Imports NumPy, Numba and ``fastmlp._jit``, and knows no Python objects."""
