"""What every layer of a network gives for a few samples, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.kernels.epoch import predict
from fastmlp.training.data import kernel_data, n_samples_of, sample_numbers
from fastmlp.training.network import NetworkLayout
from fastmlp.training.threads import single_threaded_blas

__all__ = ["layer_values", "layer_values_of_pieces"]


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
    with single_threaded_blas():
        return next(layer_values_of_pieces(layout, params, [X]))


def layer_values_of_pieces(
    layout: NetworkLayout, params: NDArray[Any], pieces: Iterable[Any]
) -> Iterator[list[NDArray[Any]]]:
    """Yield the activations of every layer for some samples after others.

    To be used under `single_threaded_blas`: how many threads there are would show in the last bits.

    Parameters
    ----------
    layout, params : various
        As for `layer_values`.
    pieces : iterable of ndarray or CSR matrix or array
        Inputs, at least one sample each.

    Yields
    ------
    list of ndarray of shape (n_samples, n_units)
        As `layer_values` returns it.
    """
    network, widths = layout.for_kernels(params.dtype, trains=False), layout.units[1:]
    for X in pieces:
        data = kernel_data(X, params.dtype)
        n_samples = n_samples_of(data, layout.units[0])
        values = np.empty(n_samples * sum(widths), params.dtype)
        samples = sample_numbers(0, n_samples if data.forward else 0)
        # With room for all samples, what the kernel works in is what each layer gave.
        predict(
            network.layers, network.slopes, params, network.forward_pass, 0, data.X, data.indptr,
            data.indices, data.forward, samples, 0, n_samples, n_samples, False, values,
            np.empty(n_samples * widths[-1], params.dtype),
        )  # fmt: skip
        layers, start = [], 0
        for width in widths:
            layers.append(values[start : start + n_samples * width].reshape(-1, width))
            start += n_samples * width
        yield layers
