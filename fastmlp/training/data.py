"""Samples in the form the kernels read, without copying what is already in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastmlp.kernels.dense import sparse_forward, sparse_weight_gradient
from fastmlp.kernels.structures import Data

__all__ = ["density_of_features", "kernel_data", "n_samples_of", "sample_numbers"]

Indices = NDArray[np.int32]

_MOST_SAMPLES = np.iinfo(np.int32).max


class _Alias:
    """The memory of a read-only array, declared writable so that its Numba type is the usual one.

    Kernels never write to inputs; a second type would mean a second compilation.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.__array_interface__ = {
            **array.__array_interface__,
            "data": (array.__array_interface__["data"][0], False),
        }


def _flat(array: Any, dtype: DTypeLike) -> NDArray[Any]:
    """Return the elements of an array in C order as a plain 1-D array, a view if possible."""
    flat = np.ascontiguousarray(array, dtype=dtype).reshape(-1)
    if not flat.flags.aligned:
        flat = flat.copy()
    return flat if flat.flags.writeable else np.asarray(_Alias(flat))


# Enough to tell how much work a range of features is.
_SAMPLED_ROWS = 128


def kernel_data(
    X: Any,
    dtype: DTypeLike,
    targets: NDArray[Any] | None = None,
    sample_weight: NDArray[Any] | None = None,
) -> Data:
    """Describe samples for the kernels.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features) or CSR matrix or array
        Inputs, validated. Not copied where C-contiguous and of the compute dtype; never modified.
    dtype : dtype
        The compute dtype.
    targets : ndarray of shape (n_samples, n_targets) or None
        What the loss compares with; None for prediction.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights; None where every sample weighs 1.

    Returns
    -------
    Data
        Arrays that share the memory of `X` where they can.
    """
    empty = np.empty(0, dtype)
    forward, gradient = 0, 0
    if isinstance(X, np.ndarray):
        values, indptr, indices = X, np.empty(0), np.empty(0)
    else:
        values, indptr, indices = X.data, X.indptr, X.indices
        forward = sparse_forward.address(dtype)
        gradient = 0 if targets is None else sparse_weight_gradient.address(dtype)
    return Data(
        X=_flat(values, dtype),
        indptr=_flat(indptr, np.int64),
        # Every feature fits 32 bits: a weight matrix with more rows could not be allocated.
        indices=_flat(indices, np.int32),
        targets=empty if targets is None else _flat(targets, dtype),
        n_targets=0 if targets is None else targets.shape[1],
        sample_weight=empty if sample_weight is None else _flat(sample_weight, dtype),
        forward=forward,
        gradient=gradient,
    )


def n_samples_of(data: Data, n_features: int) -> int:
    """Return the number of samples.

    Parameters
    ----------
    data : Data
        What `kernel_data` returned.
    n_features : int
        Width of the inputs.

    Returns
    -------
    int
        Rows of X.
    """
    return data.indptr.size - 1 if data.indptr.size else data.X.size // n_features


def sample_numbers(begin: int, end: int) -> Indices:
    """Return the numbers of some samples, by which kernels are told which ones to take.

    Parameters
    ----------
    begin, end : int
        Which samples.

    Returns
    -------
    ndarray of int32, shape (end - begin,)
        They count up from `begin`.

    Raises
    ------
    ValueError
        If there are too many for 32 bits.
    """
    if end > _MOST_SAMPLES:
        raise ValueError(f"At most {_MOST_SAMPLES} samples can be used at once; got {end}.")
    return np.arange(begin, end, dtype=np.int32)


def density_of_features(data: Data, n_features: int) -> NDArray[np.float64]:
    """Return how many of each feature's values are not 0, by some of the samples.

    Parameters
    ----------
    data : Data
        What `kernel_data` returned.
    n_features : int
        Width of the inputs.

    Returns
    -------
    ndarray of shape (n_features,)
        In [0, 1].
    """
    n_samples, counts = n_samples_of(data, n_features), np.zeros(n_features)
    some = range(0, n_samples, max(1, n_samples // _SAMPLED_ROWS))
    for i in some:  # one by one: they may be wide, and in a file
        if data.indptr.size:
            counts[data.indices[data.indptr[i] : data.indptr[i + 1]]] += 1
        else:
            counts += data.X[i * n_features : (i + 1) * n_features] != 0
    return counts / max(1, len(some))
