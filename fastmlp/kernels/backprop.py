"""Forward and backward pass of the whole network for some rows of a batch, and their parts.

Rows [start, start + n_rows) are rows of the workspace's matrices. Different threads may work on
different rows of one workspace at once, or on different blocks: some units of all rows.
"""

from __future__ import annotations

import numpy as np

from fastmlp._jit import inlined_kernel, kernel, view_kernel
from fastmlp._linking import Interface
from fastmlp.kernels.activations import activate, multiply_by_derivative, slope_gradient
from fastmlp.kernels.dense import (
    MANY,
    bias_gradient,
    call_sparse_forward,
    call_sparse_weight_gradient,
    dense_forward,
    input_gradient,
    weight_gradient,
)
from fastmlp.kernels.dropout import drop, drop_derivative
from fastmlp.kernels.gather import gather_rows
from fastmlp.kernels.losses import loss_and_delta
from fastmlp.kernels.narrow import (
    Narrow,
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
    DROPPED,
    FORWARD,
    INPUTS,
    NORM,
    NORMALISE,
    NORMS,
    SLOPE,
    THRESHOLD,
    UNITS,
    WEIGHTS,
    Data,
    Network,
    Workspace,
    elements_of,
    kept_of,
    rows_of,
)
from fastmlp.kernels.views import view

__all__ = [
    "activate_block", "activate_layer", "backward_pass", "call_forward_pass", "derive_block",
    "derive_layer", "first_inputs_of", "forward_pass", "inputs_of", "layer_gradients", "load_rows",
    "output_delta", "output_values", "sum_of", "weight_gradients",
]  # fmt: skip

# Linked, since training and prediction share it: it is compiled once.
FORWARD_PASS = Interface(
    "int table", "reals", "int", "int", "reals", "reals", "ints", "int32s", "int", "ints", "reals",
    "int", "int", "int", "reals", "reals", "reals", "int", "int",
)  # fmt: skip
call_forward_pass = FORWARD_PASS.caller("Call `forward_pass`.")


@inlined_kernel
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
    if gathers and not network.narrow.forward:
        out = view(workspace.gathered, start * n_features, samples.size * n_features)
        gather_rows(data.X, n_features, samples, np.int64(0), n_features, out)
    for i in range(samples.size):
        row, sample = start + i, samples[i]
        some = view(data.targets, sample * n_targets, n_targets)
        targets = view(workspace.targets, row * n_targets, n_targets)
        for j in range(n_targets):
            targets[j] = some[j]
        if data.sample_weight.size:
            workspace.weights[row] = data.sample_weight[sample]
    if gathers and network.narrow.forward:
        n_rows = samples.size
        for j in range(n_features):
            column = view(workspace.gathered, start * n_features + j * n_rows, n_rows)
            for i in range(n_rows):
                column[i] = data.X[samples[i] * n_features + j]


@view_kernel
def first_inputs_of(network, data, in_order, position, row, n_rows, gathered):
    """Return the dense inputs of some rows: where they are, or where they were gathered.

    Parameters
    ----------
    network : Network
        The network.
    data : Data
        All samples.
    in_order : bool
        Whether the rows are samples that are next to each other.
    position : int
        The first sample, if they are.
    row, n_rows : int
        Rows of the workspace.
    gathered : ndarray
        Of the `Workspace`.

    Returns
    -------
    ndarray of shape (n_rows * n_features,)
        A view; meaningless where inputs are sparse.
    """
    n_features = network.layers[0, UNITS]
    if data.indptr.size:
        return gathered
    if in_order and not network.narrow.forward:
        return view(data.X, position * n_features, n_rows * n_features)
    return view(gathered, row * n_features, n_rows * n_features)


@inlined_kernel
def _slope(network, params, layer):
    offset = network.layers[layer, SLOPE]
    return params[offset] if offset >= 0 else network.slopes[layer]


@inlined_kernel
def activate_layer(network, params, layer, first, size, workspace):
    """Replace some pre-activations of a layer by activations, in place.

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
    workspace : Workspace
        **Overwritten** in these elements of its values, which are kept if a derivative will need
        them.
    """
    layers, capacity = network.layers, workspace.capacity
    z = elements_of(workspace.values, layers, capacity, layer + 1, first, size)
    if layers[layer, INPUTS] >= 0:
        kept = kept_of(workspace.kept, capacity, layers[layer, INPUTS], first, size)
        for i in range(kept.size):
            kept[i] = z[i]
    activate(layers[layer, FORWARD], layers[layer + 1, UNITS], _slope(network, params, layer), z)


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
        _slope(network, params, layer),
        z,
        a,
        delta,
    )


@inlined_kernel
def _runs(n_rows, n_units, width):
    """Return how many runs of elements that are neighbours in the batch's matrix a block has."""
    if n_units == width:
        return 1, n_rows * width
    return n_rows, n_units


@inlined_kernel
def activate_block(network, params, layer, first, n_rows, n_units, workspace, noise, position):
    """Replace a block of pre-activations of a hidden layer by activations; drop some of them.

    A block is some neighbouring units in some rows.

    Parameters
    ----------
    network : Network
        The network.
    params : ndarray of shape (n_params,)
        All parameters.
    layer : int
        Layer of weights, from 0.
    first : int
        The block's first element in the layer's matrices; the others follow it, row by row.
    n_rows, n_units : int
        Shape of the block.
    workspace : Workspace
        **Overwritten** in these elements of its values, and of what the backward pass will need.
    noise : int
        What dropout draws from.
    position : int
        The block's first element in the matrix of the whole batch.
    """
    layers, capacity = network.layers, workspace.capacity
    activate_layer(network, params, layer, first, n_rows * n_units, workspace)
    if not layers[layer, DROP]:
        return
    width = layers[layer + 1, UNITS]
    n_runs, size = _runs(n_rows, n_units, width)
    for i in range(n_runs):
        run = first + i * n_units
        drop(
            layers[layer, DROP], noise, layer, position + i * width, layers[layer, THRESHOLD],
            elements_of(workspace.values, layers, capacity, layer + 1, run, size),
            kept_of(workspace.kept, capacity, layers[layer, DROPPED], run, size),
        )  # fmt: skip


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
        n_runs, size = _runs(n_rows, n_units, width)
        for i in range(n_runs):
            drop_derivative(
                layers[layer, DERIVE_DROP], noise, layer, position + i * width,
                layers[layer, THRESHOLD],
                elements_of(
                    workspace.deltas, layers, capacity, layer + 1, first + i * n_units, size
                ),
            )  # fmt: skip
    derive_layer(network, params, layer, first, n_rows * n_units, scale, workspace, slope_grads)


@view_kernel
def inputs_of(layers, layer, workspace, first, size):
    """Return what a layer of weights, but the first, reads: activations, or what is left of them.

    Parameters
    ----------
    layers : ndarray
        Of the `Network`.
    layer : int
        Layer of weights, from 1.
    workspace : Workspace
        Where they are.
    first, size : int
        Elements of the layer's matrix.

    Returns
    -------
    ndarray of shape (size,)
        A view.
    """
    capacity = workspace.capacity
    if layers[layer - 1, DROP]:
        return kept_of(workspace.kept, capacity, layers[layer - 1, DROPPED], first, size)
    return elements_of(workspace.values, layers, capacity, layer, first, size)


@view_kernel
def _inputs_of(layers, layer, first_inputs, start, n_rows, workspace):
    if layer == 0:
        return first_inputs
    units = layers[layer, UNITS]
    return inputs_of(layers, layer, workspace, start * units, n_rows * units)


@inlined_kernel
def _forward_layer(
    network, params, data, samples, first_inputs, layer, start, n_rows, workspace, noise, position
):
    """Compute activations of a layer, or pre-activations of the output layer."""
    layers, capacity = network.layers, workspace.capacity
    fan_in, fan_out = layers[layer, UNITS], layers[layer + 1, UNITS]
    weights = view(params, layers[layer, WEIGHTS], fan_in * fan_out)
    biases = view(params, layers[layer, BIASES], fan_out)
    first = start * fan_out
    z = elements_of(workspace.values, layers, capacity, layer + 1, first, n_rows * fan_out)
    if layer == 0 and data.forward:
        call_sparse_forward(
            data.forward, fan_out, np.int64(0), fan_in, samples, data.indptr, data.indices, data.X,
            weights, biases, z,
        )  # fmt: skip
    else:
        a = _inputs_of(layers, layer, first_inputs, start, n_rows, workspace)
        if network.narrow.forward:
            call_forward(network.narrow.forward, n_rows, fan_in, fan_out, a, weights, biases, z)
        else:
            dense_forward(
                network.product, n_rows, fan_in, fan_in, fan_out, a, weights, biases, z,
                workspace.room,
            )  # fmt: skip
    if layers[layer, NORMALISE]:
        call_normalise(
            layers[layer, NORMALISE],
            fan_out,
            view(params, layers[layer, NORM], 2 * fan_out),
            z,
            kept_of(
                workspace.kept,
                capacity,
                layers[layer, NORMS],
                start * (fan_out + 1),
                n_rows * (fan_out + 1),
            ),
        )
    if layer < layers.shape[0] - 2:
        activate_block(
            network, params, layer, first, n_rows, fan_out, workspace, noise, position * fan_out
        )


@FORWARD_PASS.function
def forward_pass(
    layers, slopes, narrow_forward, product, params, X, indptr, indices, sparse_forward, samples,
    first_inputs, start, n_rows, capacity, values, kept, room, noise, position,
):  # fmt: skip
    """Compute the activations of every hidden layer and the pre-activations of the output.

    A call by address puts all arguments on the stack, and whole structures take twice as long.

    Parameters
    ----------
    layers, slopes, product : various
        Of the `Network`.
    narrow_forward : int
        Of its `Narrow`.
    params : ndarray of shape (n_params,)
        All parameters.
    X, indptr, indices : ndarray
        Of the `Data`; read where they are sparse.
    sparse_forward : int
        Its address; 0 where inputs are dense.
    samples : ndarray of int64
        Which samples, for sparse data.
    first_inputs : ndarray of shape (n_rows * n_features,)
        Inputs of these rows, for dense data.
    start, n_rows : int
        Rows of the workspace.
    capacity : int
        Of the `Workspace`.
    values, kept, room : ndarray
        Of the `Workspace`. **Overwritten** in these rows, which includes what the backward pass
        will need.
    noise : int
        What dropout draws from.
    position : int
        Place of the first of these rows in its batch.
    """
    nowhere = view(room, 0, 0)
    network = Network(
        layers, slopes, 0, 0, nowhere, 0, 0, Narrow(0, narrow_forward, 0, 0, 0), product, 0, MANY
    )
    data = Data(X, indptr, indices, nowhere, 0, nowhere, sparse_forward, 0)
    workspace = Workspace(
        capacity, nowhere, values, nowhere, kept, nowhere, nowhere, nowhere, nowhere, nowhere, room
    )
    for layer in range(layers.shape[0] - 1):
        _forward_layer(
            network, params, data, samples, first_inputs, layer, start, n_rows, workspace, noise,
            position,
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
    n_outputs = network.layers[layer + 1, UNITS]
    activate_layer(network, params, layer, start * n_outputs, n_rows * n_outputs, workspace)


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
            network.product,
            network.few,
            n_rows,
            fan_in,
            fan_out,
            delta_out,
            weights,
            delta,
            workspace.room,
        )
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
    samples : ndarray of int64
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
            network.product,
            network.few,
            n_rows,
            n_units,
            stride,
            fan_out,
            scale,
            a,
            delta,
            beta,
            out,
            room,
        )


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
    a = _inputs_of(layers, layer, first_inputs, start, n_rows, workspace)
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
