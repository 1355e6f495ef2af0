"""Backward pass of the whole network for some rows of a batch, and its parts.

Rows and blocks are as in `forward`.
"""

from __future__ import annotations

import numpy as np

from fastmlp._jit import inlined_kernel, kernel
from fastmlp.kernels.activations import multiply_by_derivative, slope_gradient
from fastmlp.kernels.dense import (
    bias_gradient,
    call_sparse_weight_gradient,
    input_gradient,
    weight_gradient,
)
from fastmlp.kernels.dropout import drop_derivative
from fastmlp.kernels.forward import activate_layer, layer_inputs, runs_of, slope_of
from fastmlp.kernels.losses import loss_and_delta
from fastmlp.kernels.narrow import (
    call_bias_gradient,
    call_input_gradient,
    call_transpose,
    call_weight_gradient,
)
from fastmlp.kernels.normalization import call_normalise_backward
from fastmlp.kernels.structures import (
    BACKWARD,
    BIASES,
    DERIVE_DROP,
    DERIVE_NORM,
    INPUTS,
    NORM,
    NORMS,
    SLOPE,
    THRESHOLD,
    UNITS,
    WEIGHTS,
    elements_of,
    kept_of,
    rows_of,
)
from fastmlp.kernels.views import view

__all__ = [
    "backward_pass", "derive_block", "derive_layer", "layer_gradients", "output_delta", "sum_of",
    "weight_gradients",
]  # fmt: skip


@inlined_kernel
def derive_layer(network, params, layer, first, size, scale, workspace, slope_grads):
    r"""Turn :math:`\partial L/\partial a` of a layer into :math:`\partial L/\partial z`, in place.

    Parameters
    ----------
    network : Network
        The network.
    params : ndarray of shape (n_params,)
        All parameters.
    layer : int
        Layer of weights, from 0.
    first, size : int
        Elements of the layer's matrices.
    scale : float
        What the gradient of a learned slope is multiplied by: 1 / sum of the batch's weights.
    workspace : Workspace
        **Overwritten** in these elements of its deltas.
    slope_grads : ndarray of shape (n_params,)
        The entry of a learned slope is **added to**.
    """
    layers, capacity = network.layers, workspace.capacity
    a = elements_of(workspace.values, layers, capacity, layer + 1, first, size)
    delta = elements_of(workspace.deltas, layers, capacity, layer + 1, first, size)
    z = a
    if layers[layer, INPUTS] >= 0:
        z = kept_of(workspace.kept, capacity, layers[layer, INPUTS], first, size)
        offset = layers[layer, SLOPE]
        if offset >= 0:
            slope_grads[offset] += scale * slope_gradient(z, delta)
    multiply_by_derivative(
        layers[layer, BACKWARD],
        layers[layer + 1, UNITS],
        slope_of(network, params, layer),
        z,
        a,
        delta,
    )


@inlined_kernel
def derive_block(
    network, params, layer, first, n_rows, n_units, scale, workspace, noise, position, slope_grads
):
    """Turn the gradient with respect to what `activate_block` left into the one before it.

    Parameters
    ----------
    network, params, layer, first, n_rows, n_units, noise, position : various
        As for `activate_block`.
    scale, slope_grads : various
        As for `derive_layer`.
    workspace : Workspace
        **Overwritten** in these elements of its deltas.
    """
    layers, capacity = network.layers, workspace.capacity
    if layers[layer, DERIVE_DROP]:
        width = layers[layer + 1, UNITS]
        n_runs, size = runs_of(n_rows, n_units, width)
        for i in range(n_runs):
            drop_derivative(
                layers[layer, DERIVE_DROP], noise, layer, position + i * width,
                layers[layer, THRESHOLD],
                elements_of(
                    workspace.deltas, layers, capacity, layer + 1, first + i * n_units, size
                ),
            )  # fmt: skip
    derive_layer(network, params, layer, first, n_rows * n_units, scale, workspace, slope_grads)


@inlined_kernel
def output_delta(network, params, start, n_rows, n_targets, scale, workspace, slope_grads):
    """Compute the loss terms and the gradient with respect to the output's pre-activations.

    Parameters
    ----------
    network : Network
        The network.
    params : ndarray of shape (n_params,)
        All parameters.
    start, n_rows : int
        Rows of the workspace.
    n_targets : int
        Targets per row.
    scale : float
        What the gradient of a learned slope is multiplied by: 1 / sum of the batch's weights.
    workspace : Workspace
        **Overwritten** in these rows of its terms and of the output's deltas.
    slope_grads : ndarray of shape (n_params,)
        The entry of a learned slope is **added to**.
    """
    layers, capacity = network.layers, workspace.capacity
    layer = layers.shape[0] - 2
    n_outputs = layers[layer + 1, UNITS]
    values = rows_of(workspace.values, layers, capacity, layer + 1, start, n_rows)
    delta = rows_of(workspace.deltas, layers, capacity, layer + 1, start, n_rows)
    transpose = network.narrow.transpose
    turns = transpose != 0 and n_outputs > 1
    if turns:
        _turn(transpose, n_outputs, n_rows, values, delta)
    if not network.takes_logits:
        activate_layer(network, params, layer, start * n_outputs, values.size, workspace)
    loss_and_delta(
        network.loss,
        n_outputs,
        values,
        view(workspace.targets, start * n_targets, n_rows * n_targets),
        view(workspace.weights, start, n_rows),
        network.loss_parameters,
        delta,
        view(workspace.terms, start * network.n_terms, n_rows * network.n_terms),
    )
    if not network.takes_logits:
        derive_layer(
            network, params, layer, start * n_outputs, values.size, scale, workspace, slope_grads
        )
    if turns:
        _turn(transpose, n_rows, n_outputs, delta, values)


@kernel
def _turn(transpose, n_rows, n_columns, matrix, room):
    """Transpose a matrix in place."""
    call_transpose(transpose, n_rows, n_columns, matrix, room)
    for i in range(matrix.size):
        matrix[i] = room[i]


@inlined_kernel
def _backward_layer(
    network, params, layer, start, n_rows, scale, workspace, noise, position, layer_grads
):
    """Propagate the delta behind a layer of weights to the units before it."""
    layers, capacity = network.layers, workspace.capacity
    fan_in, fan_out = layers[layer, UNITS], layers[layer + 1, UNITS]
    delta_out = rows_of(workspace.deltas, layers, capacity, layer + 1, start, n_rows)
    delta = rows_of(workspace.deltas, layers, capacity, layer, start, n_rows)
    weights = view(params, layers[layer, WEIGHTS], fan_in * fan_out)
    if network.narrow.input_gradient:
        call_input_gradient(
            network.narrow.input_gradient, n_rows, fan_in, fan_out, delta_out, weights, delta
        )
    else:
        input_gradient(
            network.product, network.few, n_rows, fan_in, fan_out, delta_out, weights, delta,
            workspace.room,
        )  # fmt: skip
    derive_block(
        network, params, layer - 1, start * fan_in, n_rows, fan_in, scale, workspace, noise,
        position * fan_in, layer_grads,
    )  # fmt: skip
    if layers[layer - 1, DERIVE_NORM]:
        offset = layers[layer - 1, NORM]
        call_normalise_backward(
            layers[layer - 1, DERIVE_NORM],
            fan_in,
            scale,
            view(params, offset, 2 * fan_in),
            kept_of(
                workspace.kept,
                capacity,
                layers[layer - 1, NORMS],
                start * (fan_in + 1),
                n_rows * (fan_in + 1),
            ),
            delta,
            view(layer_grads, offset, 2 * fan_in),
        )


@inlined_kernel
def backward_pass(network, params, start, n_rows, scale, workspace, noise, position, layer_grads):
    """Propagate the output's delta to every hidden layer.

    Parameters
    ----------
    network, params, start, n_rows, noise, position : various
        As for `forward_pass`.
    scale : float
        What gradients of slopes and norms are multiplied by: 1 / sum of the batch's weights.
    workspace : Workspace
        **Overwritten** in these rows of its deltas.
    layer_grads : ndarray of shape (n_params,)
        The entries of learned slopes and norms are **added to**.
    """
    for layer in range(network.layers.shape[0] - 2, 0, -1):
        _backward_layer(
            network, params, layer, start, n_rows, scale, workspace, noise, position, layer_grads
        )


@kernel
def weight_gradients(
    network, data, samples, layer, unit, n_units, stride, n_rows, scale, a, delta, beta, grads, room
):
    """Compute the mean gradient of the weights that lead on from some units of a layer.

    Parameters
    ----------
    network : Network
        The network.
    data : Data
        All samples; read where they are sparse.
    samples : ndarray of int32
        Which samples, for sparse data.
    layer : int
        Layer of weights, from 0.
    unit, n_units : int
        Which units: rows of its W. At least one.
    stride : int
        Distance between the starts of two rows of `a`.
    n_rows : int
        Rows to sum over.
    scale, beta : float
        The gradient is ``scale * sum + beta * grads``.
    a : ndarray
        Activations of these units, from the first one on. Not modified.
    delta : ndarray of shape (n_rows * fan_out,)
        Gradient with respect to the pre-activations. Not modified.
    grads : ndarray of shape (n_params,)
        **Overwritten** where these weights are.
    room : ndarray
        As for `matrix_product`.
    """
    layers = network.layers
    fan_out = layers[layer + 1, UNITS]
    out = view(grads, layers[layer, WEIGHTS] + unit * fan_out, n_units * fan_out)
    if layer == 0 and data.gradient:
        call_sparse_weight_gradient(
            data.gradient, fan_out, unit, unit + n_units, scale, beta, samples, data.indptr,
            data.indices, data.X, delta, out,
        )  # fmt: skip
    elif network.narrow.weight_gradient:
        call_weight_gradient(
            network.narrow.weight_gradient, n_rows, n_units, fan_out, scale, beta, a, delta, out
        )
    else:
        weight_gradient(
            network.product, network.few, n_rows, n_units, stride, fan_out, scale, a, delta, beta,
            out, room,
        )  # fmt: skip


@inlined_kernel
def layer_gradients(
    network, data, samples, first_inputs, layer, start, n_rows, scale, beta, workspace, grads
):
    """Compute the mean gradient of some rows of a layer's weights and biases.

    Parameters
    ----------
    network, data, samples, layer, scale, beta : various
        As for `weight_gradients`.
    first_inputs : ndarray of shape (n_rows * n_features,)
        Inputs of these rows, for dense data.
    start, n_rows : int
        Rows of the workspace to sum over.
    workspace : Workspace
        Read.
    grads : ndarray of shape (n_params,)
        **Overwritten** where these weights and biases are.
    """
    layers, zero = network.layers, np.int64(0)
    fan_in, fan_out = layers[layer, UNITS], layers[layer + 1, UNITS]
    delta = rows_of(workspace.deltas, layers, workspace.capacity, layer + 1, start, n_rows)
    a = layer_inputs(layers, layer, first_inputs, start, n_rows, workspace)
    weight_gradients(
        network, data, samples, layer, zero, fan_in, fan_in, n_rows, scale, a, delta, beta, grads,
        workspace.room,
    )  # fmt: skip
    out = view(grads, layers[layer, BIASES], fan_out)
    if network.narrow.bias_gradient:
        call_bias_gradient(network.narrow.bias_gradient, n_rows, fan_out, scale, beta, delta, out)
    else:
        bias_gradient(n_rows, fan_out, fan_out, scale, delta, beta, out)


@kernel
def sum_of(terms):
    """Return the sum of loss terms.

    Parameters
    ----------
    terms : ndarray of shape (n,)
        Not modified.

    Returns
    -------
    float
        Summed up in their dtype.
    """
    total = terms.dtype.type(0)
    for i in range(terms.size):
        total += terms[i]
    return float(total)
