"""The compiled entry points: what Python calls, and what is cached on disk.

`run_batches` trains on a range of an epoch's batches (or, with the optimizer that takes no step,
gives the loss and its gradient), `predict` runs forward only. Each is compiled once per dtype.

A *piece* is a run of samples, ``order[position : position + n_rows]``, that passes through the
network together, in the rows [row, row + n_rows) of the workspace.
"""

from __future__ import annotations

import numpy as np

from fastmlp._jit import entry_point, inlined_kernel, kernel
from fastmlp.kernels.backprop import (
    backward_pass,
    forward_pass,
    layer_gradient,
    load_rows,
    output_delta,
    output_values,
)
from fastmlp.kernels.dense import bias_gradient
from fastmlp.kernels.losses import has_loss_per_row
from fastmlp.kernels.optimizers import corrected_rate, update
from fastmlp.kernels.structures import (
    BIASES,
    DELTAS,
    START,
    TERMS,
    UNITS,
    WEIGHTS,
    Data,
    Network,
    Workspace,
    rows_of,
)
from fastmlp.kernels.team import is_called_off, share, wait_for_all

__all__ = ["predict", "run_batches"]

# Rows and parameters are shared between threads in multiples of a cache line of floats.
_GRAIN = 16


@entry_point
def run_batches(
    network, data, order, in_order, batch_size, first, last, rates, step, params, workspace, team,
    thread, losses,
):  # fmt: skip
    r"""Train on the batches [first, last) of an epoch.

    Batch k holds the samples ``order[k * batch_size : (k + 1) * batch_size]``. For each, with
    :math:`S` the sum of its sample weights, the gradient is that of
    :math:`\frac1S \sum_i w_i L_i + \frac{\alpha}{2S} \|W\|^2`. A batch whose weights are all
    zero is skipped.

    Parameters
    ----------
    network : Network
        The network.
    data : Data
        All samples.
    order : ndarray of int64, shape (n_samples,)
        Order of the samples in this epoch.
    in_order : bool
        Whether `order` counts up from 0, so that dense inputs need not be gathered.
    batch_size : int
        Samples per batch; the last batch of an epoch may be shorter.
    first, last : int
        Which batches.
    rates : ndarray of float64, shape (last - first,)
        Learning rate of each step.
    step : Step
        The optimizer. Its memory and count are **overwritten**.
    params : ndarray of shape (n_params,)
        **Overwritten.**
    workspace : Workspace
        **Overwritten.** Shared by all threads.
    team : Team
        The threads, each of which calls this with the same arguments but for `thread`.
    thread : int
        Which thread this is, from 0.
    losses : ndarray of float64, shape (n_shards + n_threads, 8)
        At [:, 0] the parts of the sum over batches of batch loss times batch rows are **added**:
        one part per shard for the data, one per thread for the penalty.
    """
    n_shards = workspace.gradients.shape[0]
    number = params.dtype.type
    count = step.count[0]
    for batch in range(first, last):
        begin = batch * batch_size
        n_rows = min(batch_size, order.size - begin)
        total = _total_weight(data, order, begin, n_rows)
        if total == 0:
            continue
        count += 1
        scale, l2 = number(1.0 / total), number(step.alpha / total)
        rate = number(corrected_rate(step.optimizer, step.hyper, rates[batch - first], count))
        n_parts = team.size if team.shares_parameters else n_shards
        for part in range(thread, n_parts, team.size):
            loss = _forward_backward(
                network, data, order, in_order, begin, n_rows, part, n_parts, scale, params,
                workspace, team,
            )  # fmt: skip
            if not team.shares_parameters:
                losses[part, 0] += n_rows / total * loss
        if not wait_for_all(team.size, team.barrier):
            return
        if team.shares_parameters:
            if thread == 0:
                losses[0, 0] += n_rows / total * _sum_terms(network, workspace, 0, n_rows)
            penalty = _update_layers(
                network, data, order, in_order, begin, n_rows, scale, rate, l2, step, params,
                workspace, team, thread,
            )  # fmt: skip
        else:
            penalty = _update_slice(network, rate, l2, step, params, workspace, team, thread)
        losses[n_shards + thread, 0] += n_rows / total * 0.5 * step.alpha * penalty
        if not wait_for_all(team.size, team.barrier):
            return
    if thread == 0:
        step.count[0] = count


@inlined_kernel
def _total_weight(data, order, begin, n_rows):
    if data.sample_weight.size == 0:
        return float(n_rows)
    total = 0.0
    for i in range(begin, begin + n_rows):
        total += data.sample_weight[order[i]]
    return total


@inlined_kernel
def _sum_terms(network, workspace, row, n_rows):
    """Add the loss terms of some rows."""
    width = (
        1 if has_loss_per_row(network.loss) else network.layers[network.layers.shape[0] - 1, UNITS]
    )
    terms = workspace.samples[TERMS][row * width : (row + n_rows) * width]
    total = terms.dtype.type(0)
    for i in range(terms.size):
        total += terms[i]
    return float(total)


@inlined_kernel
def _first_inputs(network, data, in_order, position, row, n_rows, workspace):
    """Return the dense inputs of a piece: where they are, or where they were gathered."""
    n_features = network.layers[0, UNITS]
    if in_order and not data.indptr.size:
        return data.X[position * n_features : (position + n_rows) * n_features]
    return workspace.gathered[row * n_features : (row + n_rows) * n_features]


@kernel
def _forward_backward(
    network, data, order, in_order, begin, n_rows, part, n_parts, scale, params, workspace,
    team,
):  # fmt: skip
    """Run one part of a batch forward and its errors back to the first layer.

    Where threads share the parameters, the part keeps its place in the batch as its rows of the
    workspace, and that is all. Else it passes through the part's own rows of the workspace in
    pieces that fit, its gradient of all parameters is summed up in ``workspace.gradients[part]``,
    and the sum of its loss terms is returned.
    """
    number = params.dtype.type
    n_layers = network.layers.shape[0] - 1
    position, stop = share(n_rows, _GRAIN, part, n_parts)
    row, row_stop, beta, loss = position, stop, number(1), 0.0
    grads = workspace.gradients[0]
    if not team.shares_parameters:
        row, row_stop = share(workspace.capacity, _GRAIN, part, n_parts)
        grads = workspace.gradients[part]
        beta = number(0)
        for i in range(network.layers[n_layers - 1, BIASES], params.size):
            grads[i] = beta
    # A part of a short batch may be empty: its gradient is zero, not what an old batch left.
    while position < stop or beta == 0:
        if is_called_off(team.barrier):
            break
        n_piece = min(row_stop - row, stop - position)
        samples = order[begin + position : begin + position + n_piece]
        load_rows(network, data, samples, not in_order and not data.indptr.size, row, workspace)
        inputs = _first_inputs(network, data, in_order, begin + position, row, n_piece, workspace)
        forward_pass(network, params, data, samples, inputs, row, row + n_piece, workspace)
        output_delta(network, params, row, row + n_piece, data.n_targets, scale, workspace, grads)
        backward_pass(network, params, row, row + n_piece, scale, workspace, grads)
        if not team.shares_parameters:
            for layer in range(n_layers):
                _add_layer_gradient(
                    network, data, samples, inputs, layer, row, n_piece, scale, beta, workspace,
                    grads,
                )  # fmt: skip
            loss += _sum_terms(network, workspace, row, n_piece)
        position += n_piece
        beta = number(1)
    return loss


@inlined_kernel
def _add_layer_gradient(
    network, data, samples, inputs, layer, row, n_rows, scale, beta, workspace, grads
):
    fan_in, fan_out = network.layers[layer, UNITS], network.layers[layer + 1, UNITS]
    offset = network.layers[layer, WEIGHTS]
    layer_gradient(
        network, data, samples, inputs, layer, row, row + n_rows, scale, beta, workspace,
        np.int64(0), fan_in, grads[offset : offset + fan_in * fan_out],
    )  # fmt: skip
    offset = network.layers[layer, BIASES]
    delta = rows_of(workspace, DELTAS, network, layer + 1, row, row + n_rows)
    bias_gradient(n_rows, fan_out, scale, delta, beta, grads[offset : offset + fan_out])


@inlined_kernel
def _update_layers(
    network, data, order, in_order, begin, n_rows, scale, rate, l2, step, params, workspace, team,
    thread,
):  # fmt: skip
    """Compute the gradient of this thread's rows of each weight matrix and update them at once.

    They are then still in this core's cache. Returns the sum of squares of the old weights.
    """
    zero = params.dtype.type(0)
    grads = workspace.gradients[0]
    samples = order[begin : begin + n_rows]
    inputs = _first_inputs(network, data, in_order, begin, 0, n_rows, workspace)
    penalty = 0.0
    for layer in range(network.layers.shape[0] - 2, -1, -1):
        fan_in, fan_out = network.layers[layer, UNITS], network.layers[layer + 1, UNITS]
        unit, last = share(fan_in, _GRAIN, thread, team.size)
        if unit < last:
            offset = network.layers[layer, WEIGHTS]
            start, stop = offset + unit * fan_out, offset + last * fan_out
            layer_gradient(
                network, data, samples, inputs, layer, np.int64(0), n_rows, scale, zero, workspace,
                unit, last, grads[start:stop],
            )  # fmt: skip
            penalty += update(
                step.optimizer, step.hyper, rate, l2,
                grads[start:stop], params, step.slots, start, stop,
            )  # fmt: skip
        if layer % team.size == thread:
            start = network.layers[layer, BIASES]
            stop = start + fan_out
            delta = rows_of(workspace, DELTAS, network, layer + 1, 0, n_rows)
            bias_gradient(n_rows, fan_out, scale, delta, zero, grads[start:stop])
            update(
                step.optimizer, step.hyper, rate, zero,
                grads[start:stop], params, step.slots, start, stop,
            )  # fmt: skip
    return penalty


@inlined_kernel
def _update_slice(network, rate, l2, step, params, workspace, team, thread):
    """Add up the shards' gradients for this thread's slice of the parameters, and update it.

    Returns the sum of squares of the old weights of the slice.
    """
    start, stop = share(params.size, _GRAIN, thread, team.size)
    grads = workspace.gradients[0]
    out = grads[start:stop]
    # Always in the same order, whoever does it.
    for shard in range(1, workspace.gradients.shape[0]):
        other = workspace.gradients[shard, start:stop]
        for i in range(out.size):
            out[i] += other[i]
    middle = min(max(start, network.n_weights), stop)
    penalty = update(
        step.optimizer, step.hyper, rate, l2,
        grads[start:middle], params, step.slots, start, middle,
    )  # fmt: skip
    update(
        step.optimizer, step.hyper, rate, params.dtype.type(0),
        grads[middle:stop], params, step.slots, middle, stop,
    )  # fmt: skip
    return penalty


@entry_point
def predict(layers, slopes, params, X, indptr, indices, begin, end, values, out):
    """Run the samples [begin, end) forward.

    A call from Python costs time per argument, and much more for a tuple: these are plain arrays.

    Parameters
    ----------
    layers, slopes : ndarray
        As in `Network`.
    params : ndarray of shape (n_params,)
        All parameters.
    X, indptr, indices : ndarray
        As in `Data`.
    begin, end : int
        Which samples.
    values : ndarray of shape (1, n_rows * units of all layers but the inputs)
        Room for some rows. **Overwritten.** Not shared with other threads.
    out : ndarray of shape (n_samples * n_outputs,)
        **Overwritten** by the outputs, output activation applied, of these samples.

    Returns
    -------
    bool
        Whether every dense input is finite.
    """
    n_layers, n_features = layers.shape[0] - 1, layers[0, UNITS]
    n_outputs = layers[n_layers, UNITS]
    n_units = layers[n_layers, START] + n_outputs
    nowhere = np.empty(0, params.dtype)
    network = Network(layers, slopes, 0, 0, 0)
    data = Data(X, indptr, indices, nowhere, 0, nowhere)
    workspace = Workspace(values.size // n_units, nowhere, values, values, values)
    samples = np.arange(begin, end if indptr.size else begin)
    for position in range(begin, end, workspace.capacity):
        n_rows = min(workspace.capacity, end - position)
        inputs = _first_inputs(network, data, True, position, 0, n_rows, workspace)
        some = samples[position - begin : position - begin + n_rows]
        forward_pass(network, params, data, some, inputs, 0, n_rows, workspace)
        outputs = output_values(network, params, 0, n_rows, workspace)
        piece = out[position * n_outputs : (position + n_rows) * n_outputs]
        for i in range(outputs.size):
            piece[i] = outputs[i]
    return indptr.size > 0 or _are_finite(X[begin * n_features : end * n_features])


@kernel
def _are_finite(x):
    largest, n_finite = np.finfo(x.dtype).max, 0
    for i in range(x.size):
        n_finite += abs(x[i]) <= largest
    return n_finite == x.size
