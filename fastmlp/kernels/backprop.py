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
from fastmlp.kernels.structures import (
    ACTIVATION,
    BIASES,
    DELTAS,
    INPUTS,
    KEEPS_INPUT,
    SLOPE,
    TARGETS,
    TERMS,
    UNITS,
    VALUES,
    WEIGHT,
    WEIGHTS,
    rows_of,
)

__all__ = [
    "backward_pass", "forward_pass", "keep_input", "kept_input", "layer_gradient", "load_rows",
    "output_delta", "output_values",
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
        **Overwritten** in rows [start, start + rows.size) of the inputs, TARGETS and WEIGHT.
    """
    n_features, n_targets = network.layers[0, UNITS], data.n_targets
    one = workspace.samples.dtype.type(1)
    targets, weights = workspace.samples[TARGETS], workspace.samples[WEIGHT]
    for i in range(rows.size):
        row, sample = start + i, rows[i]
        if gathers:
            source = data.X[sample * n_features : (sample + 1) * n_features]
            out = workspace.gathered[row * n_features : (row + 1) * n_features]
            for j in range(n_features):
                out[j] = source[j]
        for j in range(n_targets):
            targets[row * n_targets + j] = data.targets[sample * n_targets + j]
        weights[row] = data.sample_weight[sample] if data.sample_weight.size else one


@inlined_kernel
def _slope(network, params, layer):
    offset = network.layers[layer, SLOPE]
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
        **Overwritten** in these rows of VALUES and INPUTS.
    """
    n_layers = network.layers.shape[0] - 1
    n_rows = stop - start
    for layer in range(n_layers):
        fan_in, fan_out = network.layers[layer, UNITS], network.layers[layer + 1, UNITS]
        offset = network.layers[layer, WEIGHTS]
        weights = params[offset : offset + fan_in * fan_out]
        offset = network.layers[layer, BIASES]
        biases = params[offset : offset + fan_out]
        z = rows_of(workspace, VALUES, network, layer + 1, start, stop)
        if layer > 0:
            a = rows_of(workspace, VALUES, network, layer, start, stop)
            dense_forward(n_rows, fan_in, fan_out, a, weights, biases, z)
        elif data.indptr.size:
            sparse_forward(rows, fan_out, data.indptr, data.indices, data.X, weights, biases, z)
        else:
            dense_forward(n_rows, fan_in, fan_out, first_inputs, weights, biases, z)
        if layer < n_layers - 1:
            keep_input(network, layer, z, start, stop, workspace)
            activate(network.layers[layer, ACTIVATION], _slope(network, params, layer), z)


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
        **Overwritten** in these rows of INPUTS, if it has them: prediction needs none.
    """
    if network.layers[layer, KEEPS_INPUT] and workspace.layers.shape[0] > INPUTS:
        kept = rows_of(workspace, INPUTS, network, layer + 1, start, stop)
        for i in range(z.size):
            kept[i] = z[i]


@inlined_kernel
def kept_input(network, layer, a, start, stop, workspace):
    """Return what `keep_input` copied, or any array of that type where it copied nothing.

    Parameters
    ----------
    network : Network
        The network.
    layer : int
        Layer of weights, from 0.
    a : ndarray of shape ((stop - start) * fan_out,)
        Any array.
    start, stop : int
        Rows of the workspace.
    workspace : Workspace
        Read.

    Returns
    -------
    ndarray of shape ((stop - start) * fan_out,)
        A view on INPUTS, or `a`.
    """
    if network.layers[layer, KEEPS_INPUT]:
        return rows_of(workspace, INPUTS, network, layer + 1, start, stop)
    return a


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
        **Overwritten** in these rows of the output's VALUES and INPUTS.

    Returns
    -------
    ndarray of shape ((stop - start) * n_outputs,)
        The outputs, a view on the workspace.
    """
    layer = network.layers.shape[0] - 2
    out = rows_of(workspace, VALUES, network, layer + 1, start, stop)
    if network.layers[layer, ACTIVATION] == SOFTMAX:
        softmax(stop - start, network.layers[layer + 1, UNITS], out)
    else:
        keep_input(network, layer, out, start, stop, workspace)
        activate(network.layers[layer, ACTIVATION], _slope(network, params, layer), out)
    return out


@inlined_kernel
def output_delta(network, params, start, stop, n_targets, scale, workspace, slope_grads):
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
    scale : float
        What the gradient of a learned slope is multiplied by: 1 / sum of the batch's weights.
    workspace : Workspace
        **Overwritten** in these rows of TERMS and of the output's DELTAS.
    slope_grads : ndarray of shape (n_params,)
        The entry of a learned slope is **added to**.
    """
    layer = network.layers.shape[0] - 2
    n_units = network.layers[layer + 1, UNITS]
    if network.takes_logits:
        values = rows_of(workspace, VALUES, network, layer + 1, start, stop)
    else:
        values = output_values(network, params, start, stop, workspace)
    delta = rows_of(workspace, DELTAS, network, layer + 1, start, stop)
    width = 1 if has_loss_per_row(network.loss) else n_units
    loss_and_delta(
        network.loss,
        stop - start,
        n_units,
        values,
        workspace.samples[TARGETS][start * n_targets : stop * n_targets],
        workspace.samples[WEIGHT][start:stop],
        delta,
        workspace.samples[TERMS][start * width : stop * width],
    )
    if not network.takes_logits:
        code = network.layers[layer, ACTIVATION]
        if code == SOFTMAX:
            softmax_derivative(stop - start, n_units, values, delta)
        else:
            z = kept_input(network, layer, values, start, stop, workspace)
            offset = network.layers[layer, SLOPE]
            if offset >= 0:
                slope_grads[offset] += scale * slope_gradient(z, delta)
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
        **Overwritten** in these rows of DELTAS.
    slope_grads : ndarray of shape (n_params,)
        The entries of learned slopes are **added to**.
    """
    for layer in range(network.layers.shape[0] - 2, 0, -1):
        fan_in, fan_out = network.layers[layer, UNITS], network.layers[layer + 1, UNITS]
        offset = network.layers[layer, WEIGHTS]
        weights = params[offset : offset + fan_in * fan_out]
        delta_out = rows_of(workspace, DELTAS, network, layer + 1, start, stop)
        delta = rows_of(workspace, DELTAS, network, layer, start, stop)
        input_gradient(stop - start, fan_in, fan_out, delta_out, weights, delta)
        a = rows_of(workspace, VALUES, network, layer, start, stop)
        z = kept_input(network, layer - 1, a, start, stop, workspace)
        offset = network.layers[layer - 1, SLOPE]
        if offset >= 0:
            slope_grads[offset] += scale * slope_gradient(z, delta)
        multiply_by_derivative(
            network.layers[layer - 1, ACTIVATION], _slope(network, params, layer - 1), z, a, delta
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
    fan_in, fan_out = network.layers[layer, UNITS], network.layers[layer + 1, UNITS]
    delta = rows_of(workspace, DELTAS, network, layer + 1, start, stop)
    if layer > 0:
        a = rows_of(workspace, VALUES, network, layer, start, stop)
        weight_gradient(stop - start, fan_in, fan_out, unit, last, scale, a, delta, beta, grads)
    elif data.indptr.size:
        sparse_weight_gradient(
            rows, fan_out, unit, last, scale,
            data.indptr, data.indices, data.X, delta, beta, grads,
        )  # fmt: skip
    else:
        weight_gradient(
            stop - start, fan_in, fan_out, unit, last, scale, first_inputs, delta, beta, grads
        )
