"""Forward and backward pass over the whole network, for some rows of a batch.

Rows [start, stop) are rows of the workspace's matrices. Different threads may work on different
rows of one workspace at once.
"""

from __future__ import annotations

from fastmlp._jit import inlined_kernel, kernel
from fastmlp.kernels.activations import (
    SOFTMAX,
    activate,
    multiply_by_derivative,
    slope_gradient,
    softmax,
    softmax_derivative,
)
from fastmlp.kernels.dense import (
    dense_forward,
    input_gradient,
    sparse_forward,
    sparse_weight_gradient,
    weight_gradient,
)
from fastmlp.kernels.losses import has_loss_per_row, loss_and_delta
from fastmlp.kernels.structures import rows_of

__all__ = [
    "backward_pass", "forward_pass", "keep_input", "layer_gradient", "load_rows", "output_delta",
    "output_values",
]  # fmt: skip


@kernel
def load_rows(network, data, rows, gathers, start, workspace):
    """Copy samples into rows of the workspace.

    Parameters
    ----------
    network : Network
        The network.
    data : Data
        All samples.
    rows : ndarray of int64
        Which samples.
    gathers : bool
        Whether dense inputs are copied too (else the first layer reads them where they are).
    start : int
        First row of the workspace to write.
    workspace : Workspace
        **Overwritten** in rows [start, start + rows.size) of inputs, targets and weights.
    """
    n_features, n_targets = network.units[0], data.n_targets
    one = workspace.weights.dtype.type(1)
    for i in range(rows.size):
        row, sample = start + i, rows[i]
        if gathers:
            source = data.X[sample * n_features : (sample + 1) * n_features]
            out = workspace.activations[row * n_features : (row + 1) * n_features]
            for j in range(n_features):
                out[j] = source[j]
        for j in range(n_targets):
            workspace.targets[row * n_targets + j] = data.targets[sample * n_targets + j]
        workspace.weights[row] = data.sample_weight[sample] if data.sample_weight.size else one


@inlined_kernel
def _slope(network, params, layer):
    offset = network.slope_offsets[layer]
    return params[offset] if offset >= 0 else network.slopes[layer]


@inlined_kernel
def forward_pass(network, params, data, rows, first_inputs, start, stop, workspace):
    """Compute the activations of every hidden layer and the pre-activations of the output.

    Parameters
    ----------
    network : Network
        The network.
    params : ndarray of shape (n_params,)
        All parameters.
    data : Data
        All samples; read where they are sparse.
    rows : ndarray of int64
        Which samples, for sparse data.
    first_inputs : ndarray of shape ((stop - start) * n_features,)
        Inputs of these rows, for dense data.
    start, stop : int
        Rows of the workspace.
    workspace : Workspace
        **Overwritten** in these rows of `activations` and `inputs`.
    """
    n_layers = network.units.size - 1
    n_rows, capacity = stop - start, workspace.capacity
    for layer in range(n_layers):
        fan_in, fan_out = network.units[layer], network.units[layer + 1]
        offset = network.weight_offsets[layer]
        weights = params[offset : offset + fan_in * fan_out]
        offset = network.bias_offsets[layer]
        biases = params[offset : offset + fan_out]
        z = rows_of(workspace.activations, network, capacity, layer + 1, start, stop)
        if layer > 0:
            a = rows_of(workspace.activations, network, capacity, layer, start, stop)
            dense_forward(n_rows, fan_in, fan_out, a, weights, biases, z)
        elif data.indptr.size:
            sparse_forward(
                rows, fan_out, data.indptr, data.indices, data.values, weights, biases, z
            )
        else:
            dense_forward(n_rows, fan_in, fan_out, first_inputs, weights, biases, z)
        if layer < n_layers - 1:
            keep_input(network, layer, z, start, stop, workspace)
            activate(network.activations[layer], _slope(network, params, layer), z)


@inlined_kernel
def keep_input(network, layer, z, start, stop, workspace):
    """Copy pre-activations where the derivative of a layer's activation needs them.

    Parameters
    ----------
    network : Network
        The network.
    layer : int
        Layer of weights, from 0.
    z : ndarray of shape ((stop - start) * fan_out,)
        Its pre-activations. Not modified.
    start, stop : int
        Rows of the workspace.
    workspace : Workspace
        **Overwritten** in these rows of `inputs`.
    """
    if network.keeps_input[layer]:
        kept = rows_of(workspace.inputs, network, workspace.capacity, layer + 1, start, stop)
        for i in range(z.size):
            kept[i] = z[i]


@inlined_kernel
def output_values(network, params, start, stop, workspace):
    """Apply the output activation to the pre-activations that `forward_pass` left.

    Parameters
    ----------
    network : Network
        The network.
    params : ndarray of shape (n_params,)
        All parameters.
    start, stop : int
        Rows of the workspace.
    workspace : Workspace
        **Overwritten** in these rows of the output's `activations` (and `inputs`).

    Returns
    -------
    ndarray of shape ((stop - start) * n_outputs,)
        The outputs, a view on the workspace.
    """
    layer = network.units.size - 2
    out = rows_of(workspace.activations, network, workspace.capacity, layer + 1, start, stop)
    if network.activations[layer] == SOFTMAX:
        softmax(stop - start, network.units[layer + 1], out)
    else:
        keep_input(network, layer, out, start, stop, workspace)
        activate(network.activations[layer], _slope(network, params, layer), out)
    return out


@inlined_kernel
def output_delta(network, params, start, stop, n_targets, workspace):
    """Compute the loss terms and the gradient with respect to the output's pre-activations.

    Parameters
    ----------
    network : Network
        The network.
    params : ndarray of shape (n_params,)
        All parameters.
    start, stop : int
        Rows of the workspace.
    n_targets : int
        Targets per row.
    workspace : Workspace
        **Overwritten** in these rows of `terms` and of the output's `deltas`.
    """
    layer = network.units.size - 2
    n_units = network.units[layer + 1]
    if network.takes_logits:
        values = rows_of(workspace.activations, network, workspace.capacity, layer + 1, start, stop)
    else:
        values = output_values(network, params, start, stop, workspace)
    delta = rows_of(workspace.deltas, network, workspace.capacity, layer + 1, start, stop)
    width = 1 if has_loss_per_row(network.loss) else n_units
    loss_and_delta(
        network.loss,
        stop - start,
        n_units,
        values,
        workspace.targets[start * n_targets : stop * n_targets],
        workspace.weights[start:stop],
        delta,
        workspace.terms[start * width : stop * width],
    )
    if not network.takes_logits:
        code = network.activations[layer]
        if code == SOFTMAX:
            softmax_derivative(stop - start, n_units, values, delta)
        else:
            z = rows_of(workspace.inputs, network, workspace.capacity, layer + 1, start, stop)
            multiply_by_derivative(code, _slope(network, params, layer), z, values, delta)


@inlined_kernel
def backward_pass(network, params, start, stop, scale, workspace, slope_grads):
    """Propagate the output's delta to every hidden layer.

    Parameters
    ----------
    network : Network
        The network.
    params : ndarray of shape (n_params,)
        All parameters.
    start, stop : int
        Rows of the workspace.
    scale : float
        What gradients of learned slopes are multiplied by: 1 / sum of the batch's weights.
    workspace : Workspace
        **Overwritten** in these rows of `deltas`.
    slope_grads : ndarray of shape (n_params,)
        The entries of learned slopes are **added to**.
    """
    capacity = workspace.capacity
    for layer in range(network.units.size - 2, 0, -1):
        fan_in, fan_out = network.units[layer], network.units[layer + 1]
        offset = network.weight_offsets[layer]
        weights = params[offset : offset + fan_in * fan_out]
        delta_out = rows_of(workspace.deltas, network, capacity, layer + 1, start, stop)
        delta = rows_of(workspace.deltas, network, capacity, layer, start, stop)
        input_gradient(stop - start, fan_in, fan_out, delta_out, weights, delta)
        a = rows_of(workspace.activations, network, capacity, layer, start, stop)
        z = rows_of(workspace.inputs, network, capacity, layer, start, stop)
        offset = network.slope_offsets[layer - 1]
        if offset >= 0:
            slope_grads[offset] += scale * slope_gradient(z, delta)
        multiply_by_derivative(
            network.activations[layer - 1], _slope(network, params, layer - 1), z, a, delta
        )


@kernel
def layer_gradient(
    network, data, rows, first_inputs, layer, start, stop, scale, beta, workspace, unit, last, grads
):
    """Compute the mean gradient of some rows of one layer's weights.

    Parameters
    ----------
    network : Network
        The network.
    data : Data
        All samples; read where they are sparse.
    rows : ndarray of int64
        Which samples, for sparse data.
    first_inputs : ndarray of shape ((stop - start) * n_features,)
        Inputs of these rows, for dense data.
    layer : int
        Layer of weights, from 0.
    start, stop : int
        Rows of the workspace to sum over.
    scale, beta : float
        The gradient is ``scale * sum + beta * grads``.
    workspace : Workspace
        Read.
    unit, last : int
        Which rows of W, of its fan_in.
    grads : ndarray of shape ((last - unit) * fan_out,)
        **Overwritten.**
    """
    fan_in, fan_out = network.units[layer], network.units[layer + 1]
    delta = rows_of(workspace.deltas, network, workspace.capacity, layer + 1, start, stop)
    if layer > 0:
        a = rows_of(workspace.activations, network, workspace.capacity, layer, start, stop)
        weight_gradient(stop - start, fan_in, fan_out, unit, last, scale, a, delta, beta, grads)
    elif data.indptr.size:
        sparse_weight_gradient(
            rows, fan_out, unit, last, scale,
            data.indptr, data.indices, data.values, delta, beta, grads,
        )  # fmt: skip
    else:
        weight_gradient(
            stop - start, fan_in, fan_out, unit, last, scale, first_inputs, delta, beta, grads
        )
