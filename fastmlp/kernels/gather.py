"""Copies of rows that are not next to each other: the samples of a shuffled batch."""

from __future__ import annotations

from fastmlp._jit import kernel
from fastmlp.kernels.registers import LINE
from fastmlp.kernels.vectors import prefetch
from fastmlp.kernels.views import view

__all__ = ["gather_rows"]

# How many rows ahead, and how many lines of one, are asked for; the processor itself fetches what
# follows.
_AHEAD, _LINES = 8, 4


@kernel
def gather_rows(X, n_features, samples, first, n_columns, out):
    """Copy some neighbouring columns of some rows.

    Parameters
    ----------
    X : ndarray of shape (n_samples * n_features,)
        All rows. Not modified.
    n_features : int
        Length of a row.
    samples : ndarray of int32, shape (n_rows,)
        Which rows.
    first, n_columns : int
        Which columns.
    out : ndarray of shape (n_rows * n_columns,)
        **Overwritten.**
    """
    step = LINE // X.itemsize
    last = min(n_columns, _LINES * step) - 1
    for i in range(samples.size):
        if i + _AHEAD < samples.size:
            ahead = samples[i + _AHEAD] * n_features + first
            for j in range(0, last, step):
                prefetch(X, ahead + j)
            prefetch(X, ahead + last)
        source = view(X, samples[i] * n_features + first, n_columns)
        row = view(out, i * n_columns, n_columns)
        for j in range(n_columns):
            row[j] = source[j]
