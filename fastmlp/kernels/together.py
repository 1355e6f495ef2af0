"""One step on a batch through which all threads go together, layer by layer.

There is one gradient. Threads share the units of a layer where these are many, in the forward and
in the backward pass: a product of all rows and some columns is faster than one of some rows and all
columns, since less has to be packed. They share the rows of the batch where units are few. In
between they meet. Then each computes some rows of every weight matrix's gradient and updates them:
by columns, runs would be short. Suits networks whose parameters outweigh the activations of a
batch.

The work is divided into parts, as many as there are threads when nobody else needs any, and whoever
is there works on them: how many that are does not show in a bit.
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
def _shares_units(layers, layer, data, n_parts):
    """Return whether parts are of the units that a layer of weights leads to, or of rows."""
    width = layers[layer + 1, UNITS]
    return (
        n_parts > 1
        and layer < layers.shape[0] - 2
        and not (layer == 0 and data.forward != 0)
        # No cache line may be two threads'.
        and width % GRAIN == 0
        and width >= _MANY_UNITS * n_parts
    )


@inlined_kernel
def _block(n_rows, width, by_units, part, n_parts):
    """Return a part of a matrix: its first row, rows, first column and columns.

    Parts are never joined: a larger product may be rounded in another way.
    """
    start, stop = share(width if by_units else n_rows, GRAIN, part, n_parts)
    if by_units:
        return np.int64(0), n_rows, start, stop - start
    return start, stop - start, np.int64(0), width


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
    """
    layers, n_parts, scale = network.layers, team.n_parts, params.dtype.type(1.0 / total)
    part, stop = share(n_parts, 1, thread, team.size)
    last = layers.shape[0] - 2
    grads = view(workspace.gradients, 0, params.size)
    samples = view(order, begin, n_rows)
    gathers = not in_order and not data.indptr.size
    for k in range(part, stop):
        row, end = share(n_rows, GRAIN, k, n_parts)
        load_rows(network, data, view(samples, row, end - row), gathers, row, workspace)
    # Whoever makes a block needs all that others have made before it, unless both are of rows.
    by_units = False
    for layer in range(last + 1):
        was_by_units, by_units = by_units, _shares_units(layers, layer, data, n_parts)
        if (by_units or was_by_units) and not wait_for_all(team.size, team.barrier):
            return
        for k in range(part, stop):
            row, rows, unit, units = _block(n_rows, layers[layer + 1, UNITS], by_units, k, n_parts)
            inputs = first_inputs_of(
                network, data, in_order, begin + row, row, rows, workspace.gathered
            )
            forward_layer(
                network, params, data, view(samples, row, rows), inputs, layer, row, rows, unit,
                units, workspace, noise, row,
            )  # fmt: skip
    for k in range(part, stop):
        row, end = share(n_rows, GRAIN, k, n_parts)
        output_delta(network, params, row, end - row, data.n_targets, scale, workspace, grads)
    by_units = False
    for layer in range(last, 0, -1):
        was_by_units, by_units = by_units, _shares_units(layers, layer - 1, data, n_parts)
        if (by_units or was_by_units) and not wait_for_all(team.size, team.barrier):
            return
        for k in range(part, stop):
            row, rows, unit, units = _block(n_rows, layers[layer, UNITS], by_units, k, n_parts)
            backward_layer(
                network, params, layer, row, rows, unit, units, scale, workspace, noise, row, grads
            )
    if not wait_for_all(team.size, team.barrier):
        return
    if thread == 0:
        terms = view(workspace.terms, 0, n_rows * network.n_terms)
        losses[0, 0] += n_rows / total * sum_of(terms)
    inputs = first_inputs_of(
        network, data, in_order, begin, np.int64(0), n_rows, workspace.gathered
    )
    _update(
        network, data, samples, inputs, n_rows, scale, rates, total, step, params, workspace, team,
        part, stop, losses,
    )  # fmt: skip


@kernel
def _update(
    network, data, samples, inputs, n_rows, scale, rates, total, step, params, workspace, team,
    part, stop, losses,
):  # fmt: skip
    """Compute the gradient of some rows of each weight matrix and update them at once.

    They are then still in this core's cache; where the norm of the whole gradient is limited,
    threads must wait for each other. What is summed up over parameters is so part by part, so that
    the sums are rounded alike whoever takes them.
    """
    zero, one = params.dtype.type(0), params.dtype.type(1)
    layers, n_parts, weight = network.layers, team.n_parts, n_rows / total
    grads = view(workspace.gradients, 0, params.size)
    for k in range(part, stop):
        losses[1 + k, 1] = 0.0
    for layer in range(layers.shape[0] - 2, -1, -1):
        fan_in, fan_out = layers[layer, UNITS], layers[layer + 1, UNITS]
        with_biases = part <= layer % n_parts < stop
        for k in range(part, stop):
            row, end = share(fan_in, GRAIN, k, n_parts)
            layer_gradients(
                network, data, samples, inputs, layer, np.int64(0), n_rows, scale, zero, workspace,
                row, end - row, grads, layer % n_parts == k,
            )  # fmt: skip
            start, size = _weights_of(layers, layer, k, n_parts)
            penalty = add_l1(step, total, grads, params, start, size)
            if step.sum_squares:
                losses[1 + k, 1] += sum_squares(step, total, grads, params, start, size)
            else:
                penalty += update_slice(step, rates, total, one, grads, params, start, size)
            losses[1 + k, 0] += weight * penalty
        if with_biases and step.sum_squares:
            squares = sum_squares(step, np.inf, grads, params, layers[layer, BIASES], fan_out)
            losses[1 + layer % n_parts, 1] += squares
        elif with_biases:
            update_slice(step, rates, np.inf, one, grads, params, layers[layer, BIASES], fan_out)
    if step.sum_squares:
        if not wait_for_all(team.size, team.barrier):
            return
        squares = 0.0
        for k in range(n_parts):
            squares += losses[1 + k, 1]
        factor = params.dtype.type(clipping(step, squares))
        for layer in range(layers.shape[0] - 2, -1, -1):
            for k in range(part, stop):
                start, size = _weights_of(layers, layer, k, n_parts)
                losses[1 + k, 0] += weight * update_slice(
                    step, rates, total, factor, grads, params, start, size
                )
            if part <= layer % n_parts < stop:
                start, size = layers[layer, BIASES], layers[layer + 1, UNITS]
                update_slice(step, rates, np.inf, factor, grads, params, start, size)


@inlined_kernel
def _weights_of(layers, layer, part, n_parts):
    """Return where a part of a layer's weights starts in the parameters, and its size."""
    fan_out = layers[layer + 1, UNITS]
    row, last = share(layers[layer, UNITS], GRAIN, part, n_parts)
    return layers[layer, WEIGHTS] + row * fan_out, (last - row) * fan_out
