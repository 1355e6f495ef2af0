"""Forward and backward pass over the whole network, for some rows of a batch.

Rows [start, start + n_rows) are rows of the workspace's matrices. Different threads may work on
different rows of one workspace at once.
"""

from __future__ import annotations

from fastmlp._jit import inlined_kernel, kernel, view_kernel
from fastmlp.kernels.activations import activate, multiply_by_derivative, slope_gradient
from fastmlp.kernels.dense import (
    bias_gradient,
    call_sparse_forward,
    call_sparse_weight_gradient,
    dense_forward,
    input_gradient,
    weight_gradient,
)
from fastmlp.kernels.dropout import drop, drop_derivative
from fastmlp.kernels.losses import loss_and_delta
from fastmlp.kernels.narrow import (
    call_bias_gradient,
    call_forward,
    call_input_gradient,
    call_transpose,
    call_weight_gradient,
)
from fastmlp.kernels.normalization import call_normalise, call_normalise_backward
from fastmlp.kernels.structures import (
    BACKWARD,
    BIASES,
    DERIVE_DROP,
    DERIVE_NORM,
    DROP,
    FORWARD,
    KEEPS_INPUT,
    NORM,
    NORMALISE,
    SLOPE,
    THRESHOLD,
    UNITS,
    WEIGHTS,
    norms_of,
    rows_of,
)
from fastmlp.kernels.views import view

__all__ = [
    "activate_layer", "backward_pass", "derive_layer", "forward_pass", "layer_gradients",
    "load_rows", "output_delta", "output_values",
]  # fmt: skip


@kernel
def load_rows(network, data, samples, gathers, start, workspace):
    """Copy samples into rows of the workspace.

    Parameters
    ----------
    network : Network
        The network.
    data : Data
        All samples.
    samples : ndarray of int64
        Which of them.
    gathers : bool
        Whether dense inputs are copied too (else the first layer reads them where they are).
    start : int
        First row of the workspace to write.
    workspace : Workspace
        **Overwritten** in as many rows of its gathered inputs, targets and weights.
    """
    n_features, n_targets = network.layers[0, UNITS], data.n_targets
    for i in range(samples.size):
        row, sample = start + i, samples[i]
        if gathers and not network.narrow.forward:
            source = view(data.X, sample * n_features, n_features)
            out = view(workspace.gathered, row * n_features, n_features)
            for j in range(n_features):
                out[j] = source[j]
        for j in range(n_targets):
            workspace.targets[row * n_targets + j] = data.targets[sample * n_targets + j]
        if data.sample_weight.size:
            workspace.weights[row] = data.sample_weight[sample]
    if gathers and network.narrow.forward:
        n_rows = samples.size
        for j in range(n_features):
            column = view(workspace.gathered, start * n_features + j * n_rows, n_rows)
            for i in range(n_rows):
                column[i] = data.X[samples[i] * n_features + j]


@inlined_kernel
def _slope(network, params, layer):
    offset = network.layers[layer, SLOPE]
    return params[offset] if offset >= 0 else network.slopes[layer]


@inlined_kernel
def activate_layer(network, params, layer, start, n_rows, workspace, z):
    """Replace the pre-activations of a layer by its activations, in place.

    Parameters
    ----------
    network : Network
        The network.
    params : ndarray of shape (n_params,)
        All parameters.
    layer : int
        Layer of weights, from 0.
    start, n_rows : int
        Rows of the workspace.
    workspace : Workspace
        Where the pre-activations are kept if a derivative will need them.
    z : ndarray of shape (n_rows * fan_out,)
        **Overwritten** by the activations.
    """
    layers, inputs = network.layers, workspace.inputs
    if layers[layer, KEEPS_INPUT] and inputs.size:
        kept = rows_of(inputs, layers, workspace.capacity, layer + 1, start, n_rows)
        for i in range(z.size):
            kept[i] = z[i]
    activate(layers[layer, FORWARD], layers[layer + 1, UNITS], _slope(network, params, layer), z)


@inlined_kernel
def derive_layer(network, params, layer, start, n_rows, scale, workspace, a, delta, slope_grads):
    r"""Turn :math:`\partial L/\partial a` of a layer into :math:`\partial L/\partial z`, in place.

    Parameters
    ----------
    network : Network
        The network.
    params : ndarray of shape (n_params,)
        All parameters.
    layer : int
        Layer of weights, from 0.
    start, n_rows : int
        Rows of the workspace.
    scale : float
        What the gradient of a learned slope is multiplied by: 1 / sum of the batch's weights.
    workspace : Workspace
        Read.
    a : ndarray of shape (n_rows * fan_out,)
        Activations of the layer. Not modified.
    delta : ndarray of shape (n_rows * fan_out,)
        **Overwritten.**
    slope_grads : ndarray of shape (n_params,)
        The entry of a learned slope is **added to**.
    """
    z = a
    if network.layers[layer, KEEPS_INPUT]:
        z = rows_of(workspace.inputs, network.layers, workspace.capacity, layer + 1, start, n_rows)
        offset = network.layers[layer, SLOPE]
        if offset >= 0:
            slope_grads[offset] += scale * slope_gradient(z, delta)
    multiply_by_derivative(
        network.layers[layer, BACKWARD],
        network.layers[layer + 1, UNITS],
        _slope(network, params, layer),
        z,
        a,
        delta,
    )


@view_kernel
def _inputs_of(layers, layer, first_inputs, start, n_rows, workspace):
    """Return what a layer of weights reads: what is left of the activations before it."""
    if layer == 0:
        return first_inputs
    if layers[layer - 1, DROP]:
        return rows_of(workspace.dropped, layers, workspace.capacity, layer, start, n_rows)
    return rows_of(workspace.values, layers, workspace.capacity, layer, start, n_rows)


@kernel
def forward_pass(
    network, params, data, samples, first_inputs, start, n_rows, workspace, noise, position
):
    """Compute the activations of every hidden layer and the pre-activations of the output.

    Parameters
    ----------
    network : Network
        The network.
    params : ndarray of shape (n_params,)
        All parameters.
    data : Data
        All samples; read where they are sparse.
    samples : ndarray of int64
        Which samples, for sparse data.
    first_inputs : ndarray of shape (n_rows * n_features,)
        Inputs of these rows, for dense data.
    start, n_rows : int
        Rows of the workspace.
    workspace : Workspace
        **Overwritten** in these rows of its values, and of what the backward pass will need.
    noise : int
        What dropout draws from.
    position : int
        Place of the first of these rows in its batch.
    """
    layers = network.layers
    n_layers = layers.shape[0] - 1
    for layer in range(n_layers):
        fan_in, fan_out = layers[layer, UNITS], layers[layer + 1, UNITS]
        weights = view(params, layers[layer, WEIGHTS], fan_in * fan_out)
        biases = view(params, layers[layer, BIASES], fan_out)
        z = rows_of(workspace.values, layers, workspace.capacity, layer + 1, start, n_rows)
        if layer == 0 and data.forward:
            call_sparse_forward(
                data.forward, fan_out, samples, data.indptr, data.indices, data.X, weights, biases,
                z,
            )  # fmt: skip
        else:
            a = _inputs_of(layers, layer, first_inputs, start, n_rows, workspace)
            if network.narrow.forward:
                call_forward(
                    network.narrow.forward, n_rows, fan_in, fan_out, a, weights, biases, z
                )  # fmt: skip
            else:
                dense_forward(n_rows, fan_in, fan_out, a, weights, biases, z)
        if layers[layer, NORMALISE]:
            call_normalise(
                layers[layer, NORMALISE],
                fan_out,
                view(params, layers[layer, NORM], 2 * fan_out),
                z,
                norms_of(workspace.norms, layers, workspace.capacity, layer + 1, start, n_rows),
            )
        if layer < n_layers - 1:
            activate_layer(network, params, layer, start, n_rows, workspace, z)
        if layers[layer, DROP]:
            kept = rows_of(workspace.dropped, layers, workspace.capacity, layer + 1, start, n_rows)
            drop(
                layers[layer, DROP], noise, layer, position * fan_out, layers[layer, THRESHOLD],
                z, kept,
            )  # fmt: skip


@kernel
def output_values(network, params, start, n_rows, workspace):
    """Apply the output activation to the pre-activations that `forward_pass` left.

    Parameters
    ----------
    network : Network
        The network.
    params : ndarray of shape (n_params,)
        All parameters.
    start, n_rows : int
        Rows of the workspace.
    workspace : Workspace
        **Overwritten** in these rows of the values of the output layer.
    """
    layer = network.layers.shape[0] - 2
    out = rows_of(workspace.values, network.layers, workspace.capacity, layer + 1, start, n_rows)
    activate_layer(network, params, layer, start, n_rows, workspace, out)


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
    values = rows_of(workspace.values, layers, capacity, layer + 1, start, n_rows)
    delta = rows_of(workspace.deltas, layers, capacity, layer + 1, start, n_rows)
    transpose = network.narrow.transpose
    turns = transpose != 0 and layers[layer + 1, UNITS] > 1
    if turns:
        _turn(transpose, layers[layer + 1, UNITS], n_rows, values, delta)
    if not network.takes_logits:
        activate_layer(network, params, layer, start, n_rows, workspace, values)
    loss_and_delta(
        network.loss,
        layers[layer + 1, UNITS],
        values,
        view(workspace.targets, start * n_targets, n_rows * n_targets),
        view(workspace.weights, start, n_rows),
        network.loss_parameters,
        delta,
        view(workspace.terms, start * network.n_terms, n_rows * network.n_terms),
    )
    if not network.takes_logits:
        derive_layer(
            network, params, layer, start, n_rows, scale, workspace, values, delta, slope_grads
        )
    if turns:
        _turn(transpose, n_rows, layers[layer + 1, UNITS], delta, values)


@kernel
def _turn(transpose, n_rows, n_columns, matrix, room):
    """Transpose a matrix in place."""
    call_transpose(transpose, n_rows, n_columns, matrix, room)
    for i in range(matrix.size):
        matrix[i] = room[i]


@kernel
def backward_pass(network, params, start, n_rows, scale, workspace, noise, position, layer_grads):
    """Propagate the output's delta to every hidden layer.

    Parameters
    ----------
    network : Network
        The network.
    params : ndarray of shape (n_params,)
        All parameters.
    start, n_rows : int
        Rows of the workspace.
    scale : float
        What gradients of slopes and norms are multiplied by: 1 / sum of the batch's weights.
    workspace : Workspace
        **Overwritten** in these rows of its deltas.
    noise, position : int
        As for `forward_pass`.
    layer_grads : ndarray of shape (n_params,)
        The entries of learned slopes and norms are **added to**.
    """
    layers, capacity = network.layers, workspace.capacity
    for layer in range(layers.shape[0] - 2, 0, -1):
        fan_in, fan_out = layers[layer, UNITS], layers[layer + 1, UNITS]
        delta_out = rows_of(workspace.deltas, layers, capacity, layer + 1, start, n_rows)
        delta = rows_of(workspace.deltas, layers, capacity, layer, start, n_rows)
        weights = view(params, layers[layer, WEIGHTS], fan_in * fan_out)
        if network.narrow.input_gradient:
            call_input_gradient(
                network.narrow.input_gradient, n_rows, fan_in, fan_out, delta_out, weights, delta
            )
        else:
            input_gradient(n_rows, fan_in, fan_out, delta_out, weights, delta)
        if layers[layer - 1, DROP]:
            drop_derivative(
                layers[layer - 1, DERIVE_DROP], noise, layer - 1, position * fan_in,
                layers[layer - 1, THRESHOLD], delta,
            )  # fmt: skip
        a = rows_of(workspace.values, layers, capacity, layer, start, n_rows)
        derive_layer(
            network, params, layer - 1, start, n_rows, scale, workspace, a, delta, layer_grads
        )
        if layers[layer - 1, DERIVE_NORM]:
            offset = layers[layer - 1, NORM]
            call_normalise_backward(
                layers[layer - 1, DERIVE_NORM],
                fan_in,
                scale,
                view(params, offset, 2 * fan_in),
                norms_of(workspace.norms, layers, capacity, layer, start, n_rows),
                delta,
                view(layer_grads, offset, 2 * fan_in),
            )


@kernel
def layer_gradients(
    network, data, samples, first_inputs, layer, start, n_rows, scale, beta, workspace, unit, last,
    grads, with_biases,
):  # fmt: skip
    """Compute the mean gradient of some rows of one layer's weights, and of its biases.

    Parameters
    ----------
    network : Network
        The network.
    data : Data
        All samples; read where they are sparse.
    samples : ndarray of int64
        Which samples, for sparse data.
    first_inputs : ndarray of shape (n_rows * n_features,)
        Inputs of these rows, for dense data.
    layer : int
        Layer of weights, from 0.
    start, n_rows : int
        Rows of the workspace to sum over.
    scale, beta : float
        The gradient is ``scale * sum + beta * grads``.
    workspace : Workspace
        Read.
    unit, last : int
        Which rows of W, of its fan_in.
    grads : ndarray of shape (n_params,)
        **Overwritten** where these weights and biases are.
    with_biases : bool
        Whether the biases are wanted.
    """
    layers, capacity = network.layers, workspace.capacity
    fan_in, fan_out = layers[layer, UNITS], layers[layer + 1, UNITS]
    delta = rows_of(workspace.deltas, layers, capacity, layer + 1, start, n_rows)
    out = view(grads, layers[layer, WEIGHTS] + unit * fan_out, (last - unit) * fan_out)
    if layer == 0 and data.gradient:
        call_sparse_weight_gradient(
            data.gradient, fan_out, unit, last, scale, beta, samples,
            data.indptr, data.indices, data.X, delta, out,
        )  # fmt: skip
    elif unit < last:
        a = _inputs_of(layers, layer, first_inputs, start, n_rows, workspace)
        if network.narrow.weight_gradient:
            call_weight_gradient(
                network.narrow.weight_gradient, n_rows, fan_in, fan_out, scale, beta, a, delta, out
            )
        else:
            weight_gradient(n_rows, fan_in, fan_out, unit, last, scale, a, delta, beta, out)
    if with_biases:
        out = view(grads, layers[layer, BIASES], fan_out)
        if network.narrow.bias_gradient:
            call_bias_gradient(
                network.narrow.bias_gradient, n_rows, fan_out, scale, beta, delta, out
            )
        else:
            bias_gradient(n_rows, fan_out, scale, delta, beta, out)
