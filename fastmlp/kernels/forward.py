"""Forward pass of the whole network for some rows of a batch, and its parts.

Rows [start, start + n_rows) are rows of the workspace's matrices. Different threads may work on
different rows of one workspace at once, or on different blocks: some units of all rows.
"""

from __future__ import annotations

import numpy as np

from fastmlp._jit import inlined_kernel, kernel, view_kernel
from fastmlp._linking import Interface
from fastmlp.kernels.activations import activate
from fastmlp.kernels.dense import MANY, call_sparse_forward, dense_forward
from fastmlp.kernels.dropout import drop
from fastmlp.kernels.gather import gather_rows
from fastmlp.kernels.narrow import Narrow, call_forward
from fastmlp.kernels.normalization import call_normalise
from fastmlp.kernels.structures import (
    BIASES,
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
)
from fastmlp.kernels.views import view

__all__ = [
    "activate_block", "activate_layer", "call_forward_pass", "first_inputs_of", "forward_pass",
    "inputs_of", "layer_inputs", "load_rows", "output_values", "runs_of", "slope_of",
]  # fmt: skip

# Linked, since training and prediction share it: it is compiled once.
_FORWARD_PASS = Interface(
    "int table", "reals", "int", "int", "reals", "reals", "ints", "int32s", "int", "int32s",
    "reals", "int", "int", "int", "reals", "reals", "reals", "int", "int",
)  # fmt: skip
call_forward_pass = _FORWARD_PASS.caller("Call `forward_pass`.")


@inlined_kernel
def load_rows(network, data, samples, gathers, start, workspace):
    """Copy samples into rows of the workspace.

    Parameters
    ----------
    network : Network
        The network.
    data : Data
        All samples.
    samples : ndarray of int32
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
def slope_of(network, params, layer):
    """Return the slope of a layer's activation, learned or fixed.

    Parameters
    ----------
    network : Network
        The network.
    params : ndarray of shape (n_params,)
        All parameters.
    layer : int
        Layer of weights, from 0.

    Returns
    -------
    float
        Of the parameters' dtype.
    """
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
    activate(layers[layer, FORWARD], layers[layer + 1, UNITS], slope_of(network, params, layer), z)


@inlined_kernel
def runs_of(n_rows, n_units, width):
    """Return how many runs of elements that are neighbours in the batch's matrix a block has.

    Parameters
    ----------
    n_rows, n_units : int
        Shape of the block.
    width : int
        Units of the layer.

    Returns
    -------
    n_runs, size : int
        And the elements of each.
    """
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
    n_runs, size = runs_of(n_rows, n_units, width)
    for i in range(n_runs):
        run = first + i * n_units
        drop(
            layers[layer, DROP], noise, layer, position + i * width, layers[layer, THRESHOLD],
            elements_of(workspace.values, layers, capacity, layer + 1, run, size),
            kept_of(workspace.kept, capacity, layers[layer, DROPPED], run, size),
        )  # fmt: skip


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
def layer_inputs(layers, layer, first_inputs, start, n_rows, workspace):
    """Return what a layer of weights reads.

    Parameters
    ----------
    layers : ndarray
        Of the `Network`.
    layer : int
        Layer of weights, from 0.
    first_inputs : ndarray of shape (n_rows * n_features,)
        What the first one reads.
    start, n_rows : int
        Rows of the workspace.
    workspace : Workspace
        Where the rest is.

    Returns
    -------
    ndarray of shape (n_rows * fan_in,)
        A view.
    """
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
        a = layer_inputs(layers, layer, first_inputs, start, n_rows, workspace)
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


@_FORWARD_PASS.function
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
    samples : ndarray of int32
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
