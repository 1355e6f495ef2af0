"""One step on a batch through which all threads go together, layer by layer.

Each thread owns some units of every layer, and the rows of the weights that lead on from them:
nobody else reads or writes these. For a layer, it multiplies its units' activations by its rows of
the weights; the sum of these products over the threads is the next layer. Backwards, it needs the
deltas behind a layer to compute those of its own units, then the gradient of its own weights, and
updates them while they are in its cache. So activations and deltas go from core to core, and
parameters stay where they are: this suits networks whose parameters outweigh the activations of a
batch. The output layer is shared by rows, since a row's loss needs all of its outputs.

The work is divided into parts, as many as there are threads when nobody else needs any, and whoever
is there works on them: how many that are does not show in a bit. A part's units of a layer are a
matrix of its own, its *block*, with some free rows behind it: nobody else writes there, or near.
"""

from __future__ import annotations

import numpy as np

from fastmlp._jit import inlined_kernel, kernel, view_kernel
from fastmlp.kernels.backward import derive_block, output_delta, sum_of, weight_gradients
from fastmlp.kernels.dense import bias_gradient, call_sparse_forward, dense_forward, input_gradient
from fastmlp.kernels.forward import activate_block, inputs_of, load_rows
from fastmlp.kernels.gather import gather_rows
from fastmlp.kernels.structures import BIASES, UNITS, WEIGHTS, elements_of, rows_of
from fastmlp.kernels.team import GRAIN, share, wait_for_all
from fastmlp.kernels.updates import add_l1, clipping, sum_squares, update_slice
from fastmlp.kernels.views import view

__all__ = ["step_together"]


@kernel
def step_together(
    network, data, order, in_order, begin, n_rows, total, noise, rates, step, params, workspace,
    team, thread, losses,
):  # fmt: skip
    """Do one thread's parts of a step.

    Parameters
    ----------
    network, data, order, in_order, rates, step, params, workspace, team, thread, losses : various
        As for `run_batches_together`; `rates` are those of this step.
    begin, n_rows : int
        The batch: its samples are ``order[begin : begin + n_rows]``.
    total : float
        Sum of their weights.
    noise : int
        What dropout draws from.

    Returns
    -------
    bool
        False if the work was called off.
    """
    layers, n_parts, scale = network.layers, team.n_parts, params.dtype.type(1.0 / total)
    part, stop = share(n_parts, 1, thread, team.size)
    last = layers.shape[0] - 2
    grads = view(workspace.gradients, 0, params.size)
    samples = view(order, begin, n_rows)
    for k in range(part, stop):
        row, end = share(n_rows, GRAIN, k, n_parts)
        load_rows(network, data, view(samples, row, end - row), np.bool_(False), row, workspace)
        if not in_order and not data.indptr.size:
            _gather(layers, data, samples, k, team, workspace)
    for layer in range(last + 1):
        for k in range(part, stop):
            _multiply(
                network, params, data, samples, in_order, begin, layer, n_rows, k, team,
                workspace,
            )  # fmt: skip
        if not wait_for_all(team.size, team.barrier):
            return False
        for k in range(part, stop):
            if layer < last:
                unit, n_units = _units_of(team, layer + 1, k)
                first = workspace.capacity * unit
                _add_up(
                    layers, params, layer, np.int64(0), n_rows, unit, n_units, first, team,
                    workspace,
                )  # fmt: skip
                activate_block(
                    network, params, layer, first, n_rows, n_units, workspace, noise, unit
                )
            else:
                row, end = share(n_rows, GRAIN, k, n_parts)
                width = layers[layer + 1, UNITS]
                _add_up(
                    layers, params, layer, row, end, np.int64(0), width, row * width, team,
                    workspace,
                )  # fmt: skip
                output_delta(
                    network, params, row, end - row, data.n_targets, scale, workspace, grads
                )
    if not wait_for_all(team.size, team.barrier):
        return False
    if thread == 0:
        terms = view(workspace.terms, 0, n_rows * network.n_terms)
        losses[0, 0] += n_rows / total * sum_of(terms)
    for layer in range(last, -1, -1):
        _collect(layers, layer + 1, n_rows, part, team, workspace)
        for k in range(part, stop):
            _go_back(
                network, data, samples, in_order, begin, n_rows, layer, k, part, team, scale,
                noise, rates, total, step, params, workspace, losses,
            )  # fmt: skip
        if layer > 0 and not wait_for_all(team.size, team.barrier):
            return False
    if step.sum_squares:
        return _update_clipped(
            network, n_rows, rates, total, step, params, workspace, team, thread, losses
        )
    return True


@inlined_kernel
def _units_of(team, layer, part):
    """Return the first unit of a layer that a part owns, and how many it does."""
    place = layer * (team.n_parts + 1) + part
    return team.bounds[place], team.bounds[place + 1] - team.bounds[place]


@inlined_kernel
def _weights_of(layers, team, layer, part):
    """Return where a part's rows of a layer's weights start in the parameters, and their size."""
    unit, n_units = _units_of(team, layer, part)
    fan_out = layers[layer + 1, UNITS]
    return layers[layer, WEIGHTS] + unit * fan_out, n_units * fan_out


@inlined_kernel
def _biases_of(layers, team, layer, part):
    """Return where the biases of a part's units of the next layer start, and how many they are."""
    unit, n_units = _units_of(team, layer + 1, part)
    return layers[layer, BIASES] + unit, n_units


@view_kernel
def _sums_of(workspace, team, layer, part, size):
    """Return where a part has its products for the next layer; not where it had the last ones.

    Others may still be reading those.
    """
    capacity = workspace.sums.size // (2 * team.n_parts)
    return view(workspace.sums, (layer % 2 * team.n_parts + part) * capacity, size)


@kernel
def _gather(layers, data, samples, part, team, workspace):
    """Copy a part's features of the samples."""
    n_features = layers[0, UNITS]
    unit, n_units = _units_of(team, np.int64(0), part)
    block = view(workspace.gathered, workspace.capacity * unit, samples.size * n_units)
    gather_rows(data.X, n_features, samples, unit, n_units, block)


@view_kernel
def _block_of_inputs(layers, data, in_order, begin, layer, n_rows, part, team, workspace):
    """Return what a part's weights are multiplied by; meaningless for sparse inputs."""
    unit, n_units = _units_of(team, layer, part)
    if layer > 0:
        return inputs_of(layers, layer, workspace, workspace.capacity * unit, n_rows * n_units)
    if data.indptr.size:
        return workspace.gathered
    if in_order:
        n_features = layers[0, UNITS]
        return view(data.X, begin * n_features + unit, n_rows * n_features - unit)
    return view(workspace.gathered, workspace.capacity * unit, n_rows * n_units)


@inlined_kernel
def _stride_of_inputs(layers, in_order, layer, n_units):
    """Return the distance between the rows of this block."""
    return layers[0, UNITS] if layer == 0 and in_order else n_units


@kernel
def _multiply(
    network, params, data, samples, in_order, begin, layer, n_rows, part, team, workspace
):
    """Compute what a part's units add to the next layer."""
    layers, fan_out = network.layers, network.layers[layer + 1, UNITS]
    unit, n_units = _units_of(team, layer, part)
    if n_units == 0:
        return
    start, size = _weights_of(layers, team, layer, part)
    weights = view(params, start, size)
    if team.n_parts == 1:
        biases = view(params, layers[layer, BIASES], fan_out)
        z = rows_of(workspace.values, layers, workspace.capacity, layer + 1, np.int64(0), n_rows)
    else:
        biases = view(params, 0, 0)
        z = _sums_of(workspace, team, layer, part, n_rows * fan_out)
    if layer == 0 and data.forward:
        call_sparse_forward(
            data.forward, fan_out, unit, unit + n_units, samples, data.indptr, data.indices, data.X,
            weights, biases, z,
        )  # fmt: skip
        return
    a = _block_of_inputs(layers, data, in_order, begin, layer, n_rows, part, team, workspace)
    dense_forward(
        network.product, n_rows, n_units, _stride_of_inputs(layers, in_order, layer, n_units),
        fan_out, a, weights, biases, z, workspace.room,
    )  # fmt: skip


@kernel
def _add_up(layers, params, layer, row, stop, unit, n_units, first, team, workspace):
    """Compute pre-activations of some rows and units of the next layer.

    They are written one after another from element `first` of the layer's matrix on.
    """
    if team.n_parts == 1:
        return
    fan_out, capacity = layers[layer + 1, UNITS], workspace.capacity
    size = (stop - row) * n_units
    z = elements_of(workspace.values, layers, capacity, layer + 1, first, size)
    biases = view(params, layers[layer, BIASES] + unit, n_units)
    for i in range(row, stop):
        out = view(z, (i - row) * n_units, n_units)
        for j in range(n_units):
            out[j] = biases[j]
        for k in range(team.n_parts):
            _, n_inputs = _units_of(team, layer, k)
            if n_inputs > 0:
                sums = _sums_of(workspace, team, layer, k, stop * fan_out)
                summands = view(sums, i * fan_out + unit, n_units)
                for j in range(n_units):
                    out[j] += summands[j]


@kernel
def _collect(layers, layer, n_rows, part, team, workspace):
    """Bring the deltas of all units of a hidden layer together, for one thread."""
    if team.n_parts == 1 or layer == layers.shape[0] - 1:
        return
    width, capacity = layers[layer, UNITS], workspace.capacity
    out = _deltas_of(layers, layer, n_rows, part, team, workspace)
    for k in range(team.n_parts):
        unit, n_units = _units_of(team, layer, k)
        block = elements_of(
            workspace.deltas, layers, capacity, layer, capacity * unit, n_rows * n_units
        )
        for i in range(n_rows):
            source, target = view(block, i * n_units, n_units), view(out, i * width + unit, n_units)
            for j in range(n_units):
                target[j] = source[j]


@view_kernel
def _deltas_of(layers, layer, n_rows, part, team, workspace):
    """Return the deltas of all units of a layer, row by row."""
    if team.n_parts == 1 or layer == layers.shape[0] - 1:
        return rows_of(workspace.deltas, layers, workspace.capacity, layer, np.int64(0), n_rows)
    return _sums_of(workspace, team, np.int64(0), part, n_rows * layers[layer, UNITS])


@kernel
def _go_back(
    network, data, samples, in_order, begin, n_rows, layer, part, first_part, team, scale, noise,
    rates, total, step, params, workspace, losses,
):  # fmt: skip
    """Compute the deltas of a part's units, the gradient of its weights, and update these."""
    layers, capacity = network.layers, workspace.capacity
    fan_out = layers[layer + 1, UNITS]
    unit, n_units = _units_of(team, layer, part)
    start, size = _weights_of(layers, team, layer, part)
    grads = view(workspace.gradients, 0, params.size)
    delta = _deltas_of(layers, layer + 1, n_rows, first_part, team, workspace)
    if layer > 0 and n_units > 0:
        first = capacity * unit
        out = elements_of(workspace.deltas, layers, capacity, layer, first, n_rows * n_units)
        input_gradient(
            network.product, network.few, n_rows, n_units, fan_out, delta,
            view(params, start, size), out, workspace.room,
        )  # fmt: skip
        derive_block(
            network, params, layer - 1, first, n_rows, n_units, scale, workspace, noise, unit, grads
        )
    penalty, zero, one = 0.0, params.dtype.type(0), params.dtype.type(1)
    if layer == layers.shape[0] - 2:
        losses[1 + part, 1] = 0.0
    if n_units > 0:
        a = _block_of_inputs(layers, data, in_order, begin, layer, n_rows, part, team, workspace)
        weight_gradients(
            network, data, samples, layer, unit, n_units,
            _stride_of_inputs(layers, in_order, layer, n_units), n_rows, scale, a, delta, zero,
            grads, workspace.room,
        )  # fmt: skip
        penalty += add_l1(step, total, grads, params, start, size)
        if step.sum_squares:
            losses[1 + part, 1] += sum_squares(step, total, grads, params, start, size)
        else:
            penalty += update_slice(step, rates, total, one, grads, params, start, size)
    losses[1 + part, 0] += n_rows / total * penalty
    start, size = _biases_of(layers, team, layer, part)
    unit, _ = _units_of(team, layer + 1, part)
    bias_gradient(
        n_rows, size, fan_out, scale, view(delta, unit, delta.size - unit), zero,
        view(grads, start, size),
    )  # fmt: skip
    if step.sum_squares:
        losses[1 + part, 1] += sum_squares(step, np.inf, grads, params, start, size)
    else:
        update_slice(step, rates, np.inf, one, grads, params, start, size)


@kernel
def _update_clipped(network, n_rows, rates, total, step, params, workspace, team, thread, losses):
    """Update a thread's parameters once everybody's gradient is known, and so its norm.

    Returns False if the work was called off.
    """
    if not wait_for_all(team.size, team.barrier):
        return False
    layers = network.layers
    grads = view(workspace.gradients, 0, params.size)
    squares = 0.0
    for k in range(team.n_parts):
        squares += losses[1 + k, 1]
    factor = params.dtype.type(clipping(step, squares))
    part, stop = share(team.n_parts, 1, thread, team.size)
    for layer in range(layers.shape[0] - 2, -1, -1):
        for k in range(part, stop):
            start, size = _weights_of(layers, team, layer, k)
            losses[1 + k, 0] += (
                n_rows
                / total
                * update_slice(step, rates, total, factor, grads, params, start, size)
            )
            start, size = _biases_of(layers, team, layer, k)
            update_slice(step, rates, np.inf, factor, grads, params, start, size)
    return True
