"""One step on a batch that is divided into shards, each with a gradient of its own.

Threads share the shards, then parts of the parameters, and meet once in between. Suits networks
whose parameters are few beside the activations of a batch. Sums are taken in the same order whoever
takes them: the number of threads does not show in a bit.
"""

from __future__ import annotations

import numpy as np

from fastmlp._jit import inlined_kernel, kernel
from fastmlp._linking import Interface
from fastmlp.kernels.backward import backward_pass, layer_gradients, output_delta, sum_of
from fastmlp.kernels.forward import call_forward_pass, first_inputs_of, load_rows
from fastmlp.kernels.structures import BIASES, Step, Team
from fastmlp.kernels.team import GRAIN, is_called_off, share, wait_for_all
from fastmlp.kernels.updates import add_l1, clipping, sum_squares, update_slice
from fastmlp.kernels.views import view

__all__ = ["step_on_shards", "update_parts"]

# Linked, so that it can be compiled while another process compiles the rest.
_UPDATE_PARTS = Interface(
    "int", "int", "doubles", "double", Step, "reals", "reals", Team, "int", "int", "table"
)
_call_update_parts = _UPDATE_PARTS.caller("Call `update_parts`.")


@kernel
def step_on_shards(
    network, data, order, in_order, begin, n_rows, total, noise, rates, step, params, workspace,
    team, thread, losses,
):  # fmt: skip
    """Do one thread's part of a step.

    Parameters
    ----------
    network, data, order, in_order, rates, step, params, workspace, team, thread, losses : various
        As for `run_batches_on_shards`; `rates` are those of this step.
    begin, n_rows : int
        The batch: its samples are ``order[begin : begin + n_rows]``.
    total : float
        Sum of their weights.
    noise : int
        What dropout draws from.
    """
    n_shards = workspace.gradients.size // params.size
    scale = params.dtype.type(1.0 / total)
    for shard in range(thread, n_shards, team.size):
        loss = _run_shard(
            network, data, order, in_order, begin, n_rows, shard, n_shards, scale, noise, params,
            workspace, team,
        )  # fmt: skip
        losses[shard, 0] += n_rows / total * loss
    if wait_for_all(team.size, team.barrier):
        part, stop = share(team.n_parts, 1, thread, team.size)
        _call_update_parts(
            step.update_parts, network.n_weights, n_rows, rates, total, step, params,
            workspace.gradients, team, part, stop, losses,
        )  # fmt: skip


@kernel
def _run_shard(
    network, data, order, in_order, begin, n_rows, shard, n_shards, scale, noise, params, workspace,
    team,
):  # fmt: skip
    """Compute the gradient of one shard of a batch, and return the sum of its loss terms.

    It passes through the thread's own workspace in pieces that fit.
    """
    number, layers = params.dtype.type, network.layers
    n_layers = layers.shape[0] - 1
    position, stop = share(n_rows, 1, shard, n_shards)
    row = np.int64(0)
    grads = view(workspace.gradients, shard * params.size, params.size)
    beta, loss = number(0), 0.0
    for i in range(layers[n_layers - 1, BIASES], params.size):
        grads[i] = beta
    # A shard of a short batch may be empty: its gradient is zero, not what an old batch left.
    while position < stop or beta == 0:
        if is_called_off(team.barrier):
            break
        n_piece = min(workspace.capacity, stop - position)
        samples = view(order, begin + position, n_piece)
        gathers = (not in_order or network.narrow.forward != 0) and not data.indptr.size
        load_rows(network, data, samples, gathers, row, workspace)
        inputs = first_inputs_of(
            network, data, in_order, begin + position, row, n_piece, workspace.gathered
        )
        call_forward_pass(
            network.forward_pass, network.layers, network.slopes, network.narrow.forward,
            network.product, params, data.X, data.indptr, data.indices, data.forward, samples,
            inputs, row, n_piece, workspace.capacity, workspace.values, workspace.kept,
            workspace.room, noise, position,
        )  # fmt: skip
        output_delta(network, params, row, n_piece, data.n_targets, scale, workspace, grads)
        backward_pass(network, params, row, n_piece, scale, workspace, noise, position, grads)
        for layer in range(n_layers):
            layer_gradients(
                network, data, samples, inputs, layer, row, n_piece, scale, beta, workspace, grads
            )
        loss += sum_of(view(workspace.terms, row * network.n_terms, n_piece * network.n_terms))
        position += n_piece
        beta = number(1)
    return loss


@_UPDATE_PARTS.function
def update_parts(
    n_weights, n_rows, rates, total, step, params, gradients, team, part, stop, losses
):
    """Add up the shards' gradients for some parts of the parameters, and update these.

    Parameters
    ----------
    n_weights : int
        As in `Network`.
    n_rows, rates, total, step, params, team, losses : various
        As for `step_on_shards`.
    gradients : ndarray of shape (n_shards * n_params,)
        Of the `Workspace`. The first shard's are **overwritten**.
    part, stop : int
        Which parts.
    """
    grads = view(gradients, 0, params.size)
    n_shards, weight = gradients.size // params.size, n_rows / total
    first, _, _ = _part_of(n_weights, params, part, team.n_parts)
    _, _, last = _part_of(n_weights, params, stop - 1, team.n_parts)
    # Always in the same order, whoever does it.
    some = view(grads, first, last - first)
    for shard in range(1, n_shards):
        other = view(gradients, shard * params.size + first, some.size)
        for i in range(some.size):
            some[i] += other[i]
    for k in range(part, stop):
        start, middle, _ = _part_of(n_weights, params, k, team.n_parts)
        penalty = add_l1(step, total, grads, params, start, middle - start)
        losses[n_shards + k, 0] += weight * penalty
    factor = params.dtype.type(1)
    if step.sum_squares:
        # Everybody adds up everything, so that the sum does not depend on who shares it.
        if not wait_for_all(team.size, team.barrier):
            return
        squares = sum_squares(step, total, grads, params, np.int64(0), n_weights)
        squares += sum_squares(step, np.inf, grads, params, n_weights, params.size - n_weights)
        factor = params.dtype.type(clipping(step, squares))
        if not wait_for_all(team.size, team.barrier):
            return
    for k in range(part, stop):
        start, middle, end = _part_of(n_weights, params, k, team.n_parts)
        penalty = update_slice(step, rates, total, factor, grads, params, start, middle - start)
        losses[n_shards + k, 0] += weight * penalty
        update_slice(step, rates, np.inf, factor, grads, params, middle, end - middle)


@inlined_kernel
def _part_of(n_weights, params, part, n_parts):
    """Return where a part of the parameters starts, where its weights end, and where it does."""
    start, stop = share(params.size, GRAIN, part, n_parts)
    return start, min(max(start, n_weights), stop), stop
