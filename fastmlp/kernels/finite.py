"""Whether numbers are finite: inputs before a prediction, parameters after an epoch."""

from __future__ import annotations

from fastmlp._jit import kernel

__all__ = ["are_finite"]


@kernel
def are_finite(x):
    """Return whether all elements of an array are finite.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Not modified.

    Returns
    -------
    bool
        False if any is nan or infinite.
    """
    # nan and infinity times 0 are nan. The sum, without an early end, fills vector registers.
    zero, n_finite = x.dtype.type(0), 0
    for i in range(x.size):
        n_finite += x[i] * zero == zero
    return n_finite == x.size
