"""The compiled entry points: what Python calls, and what is cached on disk.

`run_batches` trains on a range of an epoch's batches (or, with the optimizer that takes no step,
gives the loss and its gradient), `predict` runs forward only. Each is compiled once per dtype.

A *piece* is a run of samples, ``order[position : position + n_rows]``, that passes through the
network together, in the rows [row, row + n_rows) of the workspace.
"""

from __future__ import annotations

import numpy as np

from fastmlp._jit import entry_point, inlined_kernel, kernel, view_kernel
from fastmlp.kernels.backprop import (
    backward_pass,
    forward_pass,
    layer_gradients,
    load_rows,
    output_delta,
    output_values,
)
from fastmlp.kernels.narrow import NOT_NARROW
from fastmlp.kernels.optimizers import update
from fastmlp.kernels.penalties import call_add_l1_gradient, call_sum_of_squares
from fastmlp.kernels.structures import (
    BIASES,
    START,
    UNITS,
    WEIGHTS,
    Data,
    Network,
    Workspace,
    rows_of,
)
from fastmlp.kernels.team import is_called_off, share, wait_for_all
from fastmlp.kernels.views import view

__all__ = ["predict", "run_batches"]

# Rows and parameters are shared between threads in multiples of a cache line of floats.
_GRAIN = 16
# Constants are written np.int64(0) below: for a plain 0, Numba compiles what gets it once more.


@entry_point
def run_batches(
    network, data, order, in_order, batch_size, first, last, rates, totals, noise, step, params,
    workspace, team, thread, losses,
):  # fmt: skip
    r"""Train on the batches [first, last) of an epoch.

    Batch k holds the samples ``order[k * batch_size : (k + 1) * batch_size]``. For each, with
    :math:`S` the sum of its sample weights, the gradient is that of
    :math:`\frac1S \sum_i w_i L_i + \frac{\alpha}{2S} \|W\|^2 + \frac{\lambda}S \|W\|_1`,
    shortened to the largest norm that is allowed, if there is one. A batch whose weights are all
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
    rates : ndarray of float64, shape (last - first, n_rates)
        What the optimizer is given as the rates of each step.
    totals : ndarray of float64, shape (last - first,)
        S of each batch.
    noise : int
        What dropout draws from in the epoch's batch 0; 1 more in each that follows.
    step : Step
        The optimizer. Its memory is **overwritten**.
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
        one part per shard for the data, one per thread for the penalty. At [n_shards:, 1] threads
        tell each other the squares of their gradients.
    """
    n_shards = workspace.gradients.size // params.size
    number = params.dtype.type
    for batch in range(first, last):
        begin = batch * batch_size
        n_rows = min(batch_size, order.size - begin)
        total = totals[batch - first]
        if total == 0:
            continue
        scale = number(1.0 / total)
        n_parts = team.size if team.shares_parameters else n_shards
        for part in range(thread, n_parts, team.size):
            loss = _forward_backward(
                network, data, order, in_order, begin, n_rows, part, n_parts, scale, noise + batch,
                params, workspace, team,
            )  # fmt: skip
            if not team.shares_parameters:
                losses[part, 0] += n_rows / total * loss
        if not wait_for_all(team.size, team.barrier):
            return
        if team.shares_parameters:
            if thread == 0:
                losses[0, 0] += (
                    n_rows / total * _sum(view(workspace.terms, 0, n_rows * network.n_terms))
                )
            penalty = _update_layers(
                network, data, order, in_order, begin, n_rows, scale, rates[batch - first], total,
                step, params, workspace, team, thread, losses,
            )  # fmt: skip
        else:
            penalty = _update_slice(
                network, rates[batch - first], total, step, params, workspace, team, thread
            )
        losses[n_shards + thread, 0] += n_rows / total * penalty
        if not wait_for_all(team.size, team.barrier):
            return


@kernel
def _sum(terms):
    total = terms.dtype.type(0)
    for i in range(terms.size):
        total += terms[i]
    return float(total)


@view_kernel
def _first_inputs(network, data, in_order, position, row, n_rows, gathered):
    """Return the dense inputs of a piece: where they are, or where they were gathered."""
    n_features = network.layers[0, UNITS]
    if data.indptr.size:
        return gathered
    if in_order and not network.narrow.forward:
        return view(data.X, position * n_features, n_rows * n_features)
    return view(gathered, row * n_features, n_rows * n_features)


@kernel
def _forward_backward(
    network, data, order, in_order, begin, n_rows, part, n_parts, scale, noise, params, workspace,
    team,
):  # fmt: skip
    """Run one part of a batch forward and its errors back to the first layer.

    Where threads share the parameters, the part keeps its place in the batch as its rows of the
    workspace, and that is all. Else it passes through the part's own rows of the workspace in
    pieces that fit, its gradient of all parameters is summed up in ``workspace.gradients[part]``,
    and the sum of its loss terms is returned.
    """
    number = params.dtype.type
    layers = network.layers
    n_layers = layers.shape[0] - 1
    position, stop = share(n_rows, _GRAIN, part, n_parts)
    row, row_stop, beta, loss = position, stop, number(1), 0.0
    grads = view(workspace.gradients, 0, params.size)
    if not team.shares_parameters:
        row, row_stop = share(workspace.capacity, _GRAIN, part, n_parts)
        grads = view(workspace.gradients, part * params.size, params.size)
        beta = number(0)
        for i in range(layers[n_layers - 1, BIASES], params.size):
            grads[i] = beta
    # A part of a short batch may be empty: its gradient is zero, not what an old batch left.
    while position < stop or beta == 0:
        if is_called_off(team.barrier):
            break
        n_piece = min(row_stop - row, stop - position)
        samples = view(order, begin + position, n_piece)
        gathers = (not in_order or network.narrow.forward != 0) and not data.indptr.size
        load_rows(network, data, samples, gathers, row, workspace)
        inputs = _first_inputs(
            network, data, in_order, begin + position, row, n_piece, workspace.gathered
        )
        forward_pass(
            network, params, data, samples, inputs, row, n_piece, workspace, noise, position
        )
        output_delta(network, params, row, n_piece, data.n_targets, scale, workspace, grads)
        backward_pass(network, params, row, n_piece, scale, workspace, noise, position, grads)
        if not team.shares_parameters:
            for layer in range(n_layers):
                layer_gradients(
                    network, data, samples, inputs, layer, row, n_piece, scale, beta, workspace,
                    np.int64(0), layers[layer, UNITS], grads, np.bool_(True),
                )  # fmt: skip
            loss += _sum(view(workspace.terms, row * network.n_terms, n_piece * network.n_terms))
        position += n_piece
        beta = number(1)
    return loss


@kernel
def _update_layers(
    network, data, order, in_order, begin, n_rows, scale, rates, total, step, params, workspace,
    team, thread, losses,
):  # fmt: skip
    """Compute the gradient of this thread's rows of each weight matrix and update them at once.

    They are then still in this core's cache; where the norm of the whole gradient is limited, they
    must wait for each other. Returns the penalty on the old weights.
    """
    zero, one = params.dtype.type(0), params.dtype.type(1)
    layers = network.layers
    grads = view(workspace.gradients, 0, params.size)
    samples = view(order, begin, n_rows)
    inputs = _first_inputs(network, data, in_order, begin, np.int64(0), n_rows, workspace.gathered)
    penalty, squares = 0.0, 0.0
    for layer in range(layers.shape[0] - 2, -1, -1):
        fan_out = layers[layer + 1, UNITS]
        unit, last = share(layers[layer, UNITS], _GRAIN, thread, team.size)
        with_biases = layer % team.size == thread
        layer_gradients(
            network, data, samples, inputs, layer, np.int64(0), n_rows, scale, zero, workspace,
            unit, last, grads, with_biases,
        )  # fmt: skip
        start, size = layers[layer, WEIGHTS] + unit * fan_out, (last - unit) * fan_out
        penalty += _add_l1(step, total, grads, params, start, size)
        if step.sum_squares:
            squares += _sum_squares(step, total, grads, params, start, size)
            if with_biases:
                squares += _sum_squares(step, np.inf, grads, params, layers[layer, BIASES], fan_out)
        else:
            penalty += _update(step, rates, total, one, grads, params, start, size)
            if with_biases:
                _update(step, rates, np.inf, one, grads, params, layers[layer, BIASES], fan_out)
    if step.sum_squares:
        first = losses.shape[0] - team.size
        losses[first + thread, 1] = squares
        if not wait_for_all(team.size, team.barrier):
            return penalty
        squares = 0.0
        for other in range(team.size):
            squares += losses[first + other, 1]
        factor = params.dtype.type(_clipping(step, squares))
        for layer in range(layers.shape[0] - 2, -1, -1):
            fan_out = layers[layer + 1, UNITS]
            unit, last = share(layers[layer, UNITS], _GRAIN, thread, team.size)
            start, size = layers[layer, WEIGHTS] + unit * fan_out, (last - unit) * fan_out
            penalty += _update(step, rates, total, factor, grads, params, start, size)
            if layer % team.size == thread:
                _update(step, rates, np.inf, factor, grads, params, layers[layer, BIASES], fan_out)
    return penalty


@kernel
def _add_l1(step, total, grads, params, start, size):
    """Add the gradient of the L1 penalty, if any; return the penalty times the batch's weight."""
    if not step.add_l1:
        return 0.0
    return step.l1 * call_add_l1_gradient(
        step.add_l1, params.dtype.type(step.l1 / total),
        view(params, start, size), view(grads, start, size),
    )  # fmt: skip


@kernel
def _sum_squares(step, total, grads, params, start, size):
    """Return the sum of squares of the complete gradient; `total` is inf without L2 penalty."""
    return call_sum_of_squares(
        step.sum_squares, params.dtype.type(step.alpha / total),
        view(params, start, size), view(grads, start, size),
    )  # fmt: skip


@inlined_kernel
def _clipping(step, squares):
    """Return what shortens the gradient to its largest norm; nan where it is nan."""
    norm = np.sqrt(squares)
    return 1.0 if norm <= step.max_norm else step.max_norm / norm


@kernel
def _update(step, rates, total, factor, grads, params, start, size):
    """Update some parameters; return their L2 penalty, times the batch's weight, before that.

    `total` is inf for biases and the like, which have none.
    """
    some = view(grads, start, size)
    if factor != 1:
        for i in range(size):
            some[i] *= factor
    l2 = params.dtype.type(step.alpha / total) * factor
    squares = update(
        step.optimizer, step.hyper, rates, l2, some, view(params, start, size), step.slots, start
    )
    return 0.5 * step.alpha * squares


@kernel
def _update_slice(network, rates, total, step, params, workspace, team, thread):
    """Add up the shards' gradients for this thread's slice of the parameters, and update it.

    Returns the penalty on the old weights of the slice.
    """
    start, stop = share(params.size, _GRAIN, thread, team.size)
    grads = view(workspace.gradients, 0, params.size)
    # Always in the same order, whoever does it.
    for shard in range(1, workspace.gradients.size // params.size):
        other = view(workspace.gradients, shard * params.size, params.size)
        for i in range(start, stop):
            grads[i] += other[i]
    middle = min(max(start, network.n_weights), stop)
    penalty = _add_l1(step, total, grads, params, start, middle - start)
    factor = params.dtype.type(1)
    if step.sum_squares:
        # Everybody adds up everything, so that the sum does not depend on who shares it.
        if not wait_for_all(team.size, team.barrier):
            return penalty
        squares = _sum_squares(step, total, grads, params, np.int64(0), network.n_weights)
        squares += _sum_squares(
            step, np.inf, grads, params, network.n_weights, params.size - network.n_weights
        )
        factor = params.dtype.type(_clipping(step, squares))
        if not wait_for_all(team.size, team.barrier):
            return penalty
    penalty += _update(step, rates, total, factor, grads, params, start, middle - start)
    _update(step, rates, np.inf, factor, grads, params, middle, stop - middle)
    return penalty


@entry_point
def predict(
    layers, slopes, params, X, indptr, indices, sparse_forward, samples, begin, end, values, out
):
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
    sparse_forward : int
        Its address, or 0 where inputs are dense.
    samples : ndarray of int64, shape (end - begin,) or (0,)
        Counts up from `begin`, where inputs are sparse.
    begin, end : int
        Which samples.
    values : ndarray of shape (n_rows * units of all layers but the inputs,)
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
    capacity = values.size // n_units
    nowhere = view(values, 0, 0)
    workspace = Workspace(
        capacity, nowhere, values, nowhere, nowhere, nowhere, nowhere, nowhere, nowhere, nowhere,
        nowhere,
    )  # fmt: skip
    network = Network(layers, slopes, 0, 0, nowhere, 0, 0, NOT_NARROW)
    data = Data(X, indptr, indices, nowhere, 0, nowhere, sparse_forward, 0)
    for position in range(begin, end, capacity):
        n_rows = min(capacity, end - position)
        inputs = _first_inputs(
            network, data, np.bool_(True), position, np.int64(0), n_rows, nowhere
        )
        some = samples
        if samples.size:
            some = view(samples, position - begin, n_rows)
        forward_pass(
            network, params, data, some, inputs, np.int64(0), n_rows, workspace, np.int64(0),
            np.int64(0),
        )  # fmt: skip
        output_values(network, params, np.int64(0), n_rows, workspace)
        outputs = rows_of(values, layers, capacity, n_layers, np.int64(0), n_rows)
        piece = view(out, position * n_outputs, n_rows * n_outputs)
        for i in range(outputs.size):
            piece[i] = outputs[i]
    return indptr.size > 0 or _are_finite(view(X, begin * n_features, (end - begin) * n_features))


@kernel
def _are_finite(x):
    largest, n_finite = np.finfo(x.dtype).max, 0
    for i in range(x.size):
        n_finite += abs(x[i]) <= largest
    return n_finite == x.size
