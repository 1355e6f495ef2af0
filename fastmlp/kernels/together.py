"""One step on a batch through which all threads go together, layer by layer.

There is one gradient. Threads share the units of a layer where these are many: each computes its
columns of the activations and keeps its columns of the weights, which then stay in its core's
cache; a product of all rows and some columns is also faster than one of some rows and all columns,
since less has to be packed. They share the rows of the batch where units are few. In between they
meet. Suits networks whose parameters outweigh the activations of a batch.
"""

from __future__ import annotations

import numpy as np

from fastmlp._jit import inlined_kernel, kernel
from fastmlp.kernels.backprop import (
    backward_layer,
    first_inputs_of,
    forward_layer,
    layer_gradients,
    load_rows,
    output_delta,
    runs,
    sum_of,
)
from fastmlp.kernels.structures import BIASES, UNITS, WEIGHTS
from fastmlp.kernels.team import GRAIN, share, wait_for_all
from fastmlp.kernels.updates import add_l1, clipping, sum_squares, update_slice
from fastmlp.kernels.views import view

__all__ = ["step_together"]

# Units per thread that are worth sharing.
_MANY_UNITS = 64


@inlined_kernel
def _shares_units(layers, layer, data, size):
    """Return whether threads share the units that a layer of weights leads to."""
    width = layers[layer + 1, UNITS]
    return (
        size > 1
        and layer < layers.shape[0] - 2
        and not (layer == 0 and data.forward != 0)
        # No cache line may be two threads'.
        and width % GRAIN == 0
        and width >= _MANY_UNITS * size
    )


@inlined_kernel
def _block(n_rows, width, by_units, thread, size):
    """Return a thread's part of a matrix: its first row, rows, first column and columns."""
    start, stop = share(width if by_units else n_rows, GRAIN, thread, size)
    if by_units:
        return np.int64(0), n_rows, start, stop - start
    return start, stop - start, np.int64(0), width


@inlined_kernel
def _has_biases(layer, by_units, thread, size):
    return by_units or layer % size == thread


@kernel
def step_together(
    network, data, order, in_order, begin, n_rows, total, noise, rates, step, params, workspace,
    team, thread, losses,
):  # fmt: skip
    """Do one thread's part of a step.

    Parameters
    ----------
    network, data, order, in_order, rates, step, params, workspace, team, thread, losses : various
        As for `run_batches`; `rates` are those of this step.
    begin, n_rows : int
        The batch: its samples are ``order[begin : begin + n_rows]``.
    total : float
        Sum of their weights.
    noise : int
        What dropout draws from.
    """
    layers, size, scale = network.layers, team.size, params.dtype.type(1.0 / total)
    last = layers.shape[0] - 2
    grads = view(workspace.gradients, 0, params.size)
    samples = view(order, begin, n_rows)
    row, stop = share(n_rows, GRAIN, thread, size)
    rows, by_units = stop - row, False
    load_rows(
        network, data, view(samples, row, rows), not in_order and not data.indptr.size, row,
        workspace,
    )  # fmt: skip
    # Whoever makes a block needs all that others have made before it, unless both are of rows.
    for layer in range(last + 1):
        was_by_units, by_units = by_units, _shares_units(layers, layer, data, size)
        if (by_units or was_by_units) and not wait_for_all(size, team.barrier):
            return
        row, rows, unit, units = _block(n_rows, layers[layer + 1, UNITS], by_units, thread, size)
        inputs = first_inputs_of(
            network, data, in_order, begin + row, row, rows, workspace.gathered
        )
        forward_layer(
            network, params, data, view(samples, row, rows), inputs, layer, row, rows, unit, units,
            workspace, noise, row,
        )  # fmt: skip
    output_delta(network, params, row, rows, data.n_targets, scale, workspace, grads)
    by_units = False
    for layer in range(last, 0, -1):
        was_by_units, by_units = by_units, _shares_units(layers, layer - 1, data, size)
        if (by_units or was_by_units) and not wait_for_all(size, team.barrier):
            return
        row, rows, unit, units = _block(n_rows, layers[layer, UNITS], by_units, thread, size)
        backward_layer(
            network, params, layer, row, rows, unit, units, scale, workspace, noise, row, grads
        )
    if not wait_for_all(size, team.barrier):
        return
    if thread == 0:
        terms = view(workspace.terms, 0, n_rows * network.n_terms)
        losses[0, 0] += n_rows / total * sum_of(terms)
    inputs = first_inputs_of(
        network, data, in_order, begin, np.int64(0), n_rows, workspace.gathered
    )
    penalty = _update(
        network, data, samples, inputs, n_rows, scale, rates, total, step, params, workspace, team,
        thread, losses,
    )  # fmt: skip
    losses[1 + thread, 0] += n_rows / total * penalty


@kernel
def _update(
    network, data, samples, inputs, n_rows, scale, rates, total, step, params, workspace, team,
    thread, losses,
):  # fmt: skip
    """Compute the gradient of this thread's block of each weight matrix and update it at once.

    It is then still in this core's cache; where the norm of the whole gradient is limited, threads
    must wait for each other. Returns the penalty on the old weights.
    """
    zero, one = params.dtype.type(0), params.dtype.type(1)
    layers, size, penalty, squares = network.layers, team.size, 0.0, 0.0
    grads = view(workspace.gradients, 0, params.size)
    for layer in range(layers.shape[0] - 2, -1, -1):
        fan_in, fan_out = layers[layer, UNITS], layers[layer + 1, UNITS]
        by_units = _shares_units(layers, layer, data, size)
        row, rows, unit, units = _block(fan_in, fan_out, by_units, thread, size)
        with_biases = _has_biases(layer, by_units, thread, size)
        layer_gradients(
            network, data, samples, inputs, layer, np.int64(0), n_rows, scale, zero, workspace,
            row, rows, unit, units, grads, with_biases,
        )  # fmt: skip
        if step.add_l1 or step.sum_squares:
            more, length = _penalise_block(
                layers, layer, row, rows, unit, units, with_biases, total, step, params, grads
            )
            penalty += more
            squares += length
        if not step.sum_squares:
            penalty += _update_block(
                layers, layer, row, rows, unit, units, with_biases, rates, total, one, step, params,
                grads,
            )  # fmt: skip
    if step.sum_squares:
        losses[1 + thread, 1] = squares
        if not wait_for_all(size, team.barrier):
            return penalty
        squares = 0.0
        for other in range(size):
            squares += losses[1 + other, 1]
        factor = params.dtype.type(clipping(step, squares))
        for layer in range(layers.shape[0] - 2, -1, -1):
            fan_in, fan_out = layers[layer, UNITS], layers[layer + 1, UNITS]
            by_units = _shares_units(layers, layer, data, size)
            row, rows, unit, units = _block(fan_in, fan_out, by_units, thread, size)
            penalty += _update_block(
                layers, layer, row, rows, unit, units, _has_biases(layer, by_units, thread, size),
                rates, total, factor, step, params, grads,
            )  # fmt: skip
    return penalty


@kernel
def _penalise_block(layers, layer, row, rows, unit, units, with_biases, total, step, params, grads):
    """Add the L1 term to a block of the gradient.

    Returns the L1 penalty on its weights, and the sum of squares of the complete gradient if its
    norm has a limit.
    """
    fan_out, penalty, squares = layers[layer + 1, UNITS], 0.0, 0.0
    n_runs, size = runs(rows, units, fan_out)
    for i in range(n_runs):
        start = layers[layer, WEIGHTS] + (row + i) * fan_out + unit
        penalty += add_l1(step, total, grads, params, start, size)
        if step.sum_squares:
            squares += sum_squares(step, total, grads, params, start, size)
    if with_biases and step.sum_squares:
        squares += sum_squares(step, np.inf, grads, params, layers[layer, BIASES] + unit, units)
    return penalty, squares


@kernel
def _update_block(
    layers, layer, row, rows, unit, units, with_biases, rates, total, factor, step, params, grads
):
    """Update a block of a layer's weights, and its biases; return the penalty on the former."""
    fan_out, penalty = layers[layer + 1, UNITS], 0.0
    n_runs, size = runs(rows, units, fan_out)
    for i in range(n_runs):
        start = layers[layer, WEIGHTS] + (row + i) * fan_out + unit
        penalty += update_slice(step, rates, total, factor, grads, params, start, size)
    if with_biases:
        start = layers[layer, BIASES] + unit
        update_slice(step, rates, np.inf, factor, grads, params, start, units)
    return penalty
