"""What every layer of a network gives for a few samples, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.kernels.epoch import predict
from fastmlp.training.data import kernel_data, n_samples_of
from fastmlp.training.network import NetworkLayout
from fastmlp.training.threads import single_threaded_blas

__all__ = ["layer_values"]


def layer_values(layout: NetworkLayout, params: NDArray[Any], X: Any) -> list[NDArray[Any]]:
    """Return the activations of every layer.

    Parameters
    ----------
    layout : NetworkLayout
        The network.
    params : ndarray of shape (n_params,)
        Its parameters.
    X : ndarray of shape (n_samples, n_features) or CSR matrix or array
        Inputs, validated. All samples are kept in memory at once.

    Returns
    -------
    list of ndarray of shape (n_samples, n_units)
        One per layer of weights, the outputs last; activations applied.
    """
    data, network = kernel_data(X, params.dtype), layout.for_kernels(params.dtype, trains=False)
    n_samples, widths = n_samples_of(data, layout.units[0]), layout.units[1:]
    values = np.empty(n_samples * sum(widths), params.dtype)
    with single_threaded_blas():
        # With room for all samples, what the kernel works in is what each layer gave.
        predict(
            network.layers, network.slopes, params, data.X, data.indptr, data.indices, data.forward,
            np.arange(n_samples if data.forward else 0), 0, n_samples, values,
            np.empty(n_samples * widths[-1], params.dtype),
        )  # fmt: skip
    ends = n_samples * np.cumsum(widths)
    return [part.reshape(n_samples, -1) for part in np.split(values, ends[:-1])]
