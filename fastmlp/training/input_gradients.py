r"""Exact gradients with respect to the inputs, by the kernels that train.

Training knows gradients with respect to weights only. So the inputs are made weights: a first layer
without activation, whose weight matrix is X and whose own inputs are one-hot rows, hands row i of X
to the network. The gradient of the loss with respect to that matrix is the one that is wanted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from fastmlp.training.data import kernel_data, sample_numbers
from fastmlp.training.engine import Engine, OptimizerState
from fastmlp.training.network import NetworkLayout
from fastmlp.training.predictor import Predictor

__all__ = ["input_gradients_of_loss", "input_gradients_of_output"]

Floats = NDArray[Any]

# Inputs that pass through together: bytes and rows.
_PIECE_BYTES, _MIN_ROWS, _MAX_ROWS = 1024 * 1024, 16, 512
# Any output is lost beside it, and its square is still far from overflowing.
_FAR = {np.dtype(np.float32): 2.0**56, np.dtype(np.float64): 2.0**256}


def input_gradients_of_loss(
    layout: NetworkLayout, params: Floats, X: Any, targets: Floats, n_jobs: int | None = None
) -> Floats:
    r"""Return the gradient of each sample's loss with respect to its inputs.

    .. math:: G_{ij} = \partial L(f(x_i), y_i) / \partial x_{ij}

    Parameters
    ----------
    layout : NetworkLayout
        The network.
    params : ndarray of shape (n_params,)
        Its parameters. Not modified.
    X : ndarray of shape (n_samples, n_features) or CSR matrix or array
        Inputs, validated, of the parameters' dtype.
    targets : ndarray of shape (n_samples, n_targets)
        What the loss compares with.
    n_jobs : int or None
        As for `reserve_threads`.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Of the parameters' dtype. The penalty has no part in it; where a loss is averaged over
        outputs when reported, this is the gradient of the sum, as in training.
    """
    (n_samples, n_features), dtype = X.shape, params.dtype
    # A power of two, by which the mean over rows divides without rounding.
    fitting = int(np.clip(_PIECE_BYTES // (n_features * dtype.itemsize), _MIN_ROWS, _MAX_ROWS))
    rows = 1 << (min(fitting, n_samples).bit_length() - 1)
    embedded = replace(
        layout,
        units=(rows, *layout.units),
        activations=("identity", *layout.activations),
        slopes=(None, *layout.slopes),
        norms=(False, *layout.norms) if layout.norms else (),
        dropout=(),
    )
    inputs = np.zeros(rows * n_features, dtype)
    first, last = params[: layout.n_weights], params[layout.n_weights :]
    vector = np.concatenate([inputs, first, np.zeros(n_features, dtype), last])
    inputs = vector[: inputs.size].reshape(rows, n_features)
    one_hot = csr_array((np.ones(rows, dtype), (np.arange(rows), np.arange(rows))))
    data = kernel_data(one_hot, dtype, np.zeros((rows, targets.shape[1]), dtype))
    piece_targets = data.targets.reshape(rows, -1)
    gradients, order = np.empty((n_samples, n_features), dtype), sample_numbers(0, rows)
    with Engine(
        embedded, vector, data, OptimizerState.start("no_step", vector), {},
        alpha=0.0, batch_size=rows, n_samples=rows, n_jobs=n_jobs,
    ) as engine:  # fmt: skip
        for start in range(0, n_samples, rows):
            piece = slice(start, min(start + rows, n_samples))
            n_rows = piece.stop - start  # what an old piece left in the other rows is harmless
            inputs[:n_rows] = X[piece].toarray() if issparse(X) else X[piece]
            piece_targets[:n_rows] = targets[piece]
            gradient = engine.loss_and_gradient(order)[1][: inputs.size].reshape(inputs.shape)
            np.multiply(gradient[:n_rows], rows, out=gradients[piece])
    return gradients


def input_gradients_of_output(
    layout: NetworkLayout,
    params: Floats,
    X: Any,
    output: int,
    *,
    logits: bool = False,
    n_jobs: int | None = None,
) -> Floats:
    r"""Return the gradient of one output unit with respect to the inputs.

    .. math:: G_{ij} = \partial f_k(x_i) / \partial x_{ij}

    Parameters
    ----------
    layout : NetworkLayout
        The network.
    params : ndarray of shape (n_params,)
        Its parameters. Not modified.
    X : ndarray of shape (n_samples, n_features) or CSR matrix or array
        Inputs, validated, of the parameters' dtype.
    output : int
        Which unit, k.
    logits : bool, default=False
        Whether f ends before the output activation.
    n_jobs : int or None
        As for `reserve_threads`.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Of the parameters' dtype.
    """
    n_samples, dtype = X.shape[0], params.dtype
    if layout.activations[-1] == "softmax" and not logits:
        # The derivative of p is that of log p times p.
        loss = replace(layout, loss="softmax_cross_entropy", loss_parameters=())
        targets = np.full((n_samples, 1), output, dtype)
        gradients = input_gradients_of_loss(loss, params, X, targets, n_jobs)
        probabilities = Predictor(layout, params)(kernel_data(X, dtype), n_jobs)
        gradients *= -probabilities[:, [output]]
        return gradients
    # With a target so far away, the error is the same whatever the output: a constant, by which
    # the gradient of the squared error exceeds that of the output.
    narrow = replace(
        layout,
        units=(*layout.units[:-1], 1),
        activations=(*layout.activations[:-1], "identity" if logits else layout.activations[-1]),
        loss="squared_error",
        loss_parameters=(),
    )
    coefs, intercepts = layout.unpack(params)
    coefs[-1], intercepts[-1] = coefs[-1][:, [output]], intercepts[-1][[output]]
    slopes = layout.unpack_slopes(params)[: len(narrow.learned_slopes)]
    params = narrow.pack(coefs, intercepts, slopes, dtype, layout.unpack_norms(params))
    targets = np.full((n_samples, 1), -_FAR[dtype], dtype)
    gradients = input_gradients_of_loss(narrow, params, X, targets, n_jobs)
    gradients /= _FAR[dtype]
    return gradients
