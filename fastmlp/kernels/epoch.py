"""The compiled entry points: what Python calls, and what is cached on disk.

`run_batches_together` and `run_batches_on_shards` train on a range of an epoch's batches (or, with
the optimizer that takes no step, give the loss and its gradient); a fit needs one of them, and only
that is compiled. `predict` runs forward only. Each is compiled once per dtype.

A *piece* is a run of samples, ``order[position : position + n_rows]``, that passes through the
network together, in the rows [row, row + n_rows) of the workspace.
"""

from __future__ import annotations

import numpy as np

from fastmlp._linking import Interface
from fastmlp.kernels.dense import MANY
from fastmlp.kernels.finite import are_finite
from fastmlp.kernels.forward import call_forward_pass, first_inputs_of, output_values
from fastmlp.kernels.narrow import NOT_NARROW
from fastmlp.kernels.series import goes_on
from fastmlp.kernels.shards import step_on_shards
from fastmlp.kernels.structures import (
    START,
    UNITS,
    Data,
    Network,
    Series,
    Step,
    Team,
    Workspace,
    rows_of,
)
from fastmlp.kernels.team import wait_for_all
from fastmlp.kernels.together import step_together
from fastmlp.kernels.views import view

__all__ = ["predict", "run_batches_on_shards", "run_batches_together"]

_TRAINING = Interface(
    Network, Data, "int32s", "bool", "int", "int", "int", "table", "doubles", "int", Step, Series,
    "reals", Workspace, Team, "int", "table",
)  # fmt: skip

# Constants are written np.int64(0): for a plain 0, Numba compiles what gets it once more.


@_TRAINING.entry_point
def run_batches_together(
    network, data, order, in_order, batch_size, first, last, rates, totals, noise, step, series,
    params, workspace, team, thread, losses,
):  # fmt: skip
    r"""Train on the batches [first, last) of each epoch: threads go through each layer together.

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
    order : ndarray of int32, shape (n_samples,)
        Order of the samples in this epoch.
    in_order : bool
        Whether `order` counts up from 0, so that dense inputs need not be gathered.
    batch_size : int
        Samples per batch; the last batch of an epoch may be shorter.
    first, last : int
        Which batches.
    rates : ndarray of float64, shape (n_epochs * (last - first), n_rates)
        What the optimizer is given as the rates of each step.
    totals : ndarray of float64, shape (last - first,)
        S of each batch.
    noise : int
        What dropout draws from in the epoch's batch 0; 1 more in each that follows.
    step : Step
        The optimizer. Its memory is **overwritten**.
    series : Series
        How many epochs. **Overwritten** if there are several.
    params : ndarray of shape (n_params,)
        **Overwritten.**
    workspace : Workspace
        **Overwritten.** Shared by all threads, but for its room.
    team : Team
        The threads, each of which calls this with the same arguments but for `thread`.
    thread : int
        Which thread this is, from 0.
    losses : ndarray of float64, shape (n_shards + n_parts, 8)
        At [:, 0] the summands of the sum over batches of batch loss times batch rows are
        **added**: one per shard for the data, one per part of the parameters for the penalty. At
        [n_shards:, 1] threads tell each other the squares of the gradients of their parts.
    """
    for epoch in range(series.n_epochs):
        for batch in range(first, last):
            begin = batch * batch_size
            n_rows = min(batch_size, order.size - begin)
            total = totals[batch - first]
            if total == 0:
                continue
            goes_well = step_together(
                network, data, order, in_order, begin, n_rows, total, noise + batch,
                rates[epoch * (last - first) + batch - first], step, params, workspace, team,
                thread, losses,
            )  # fmt: skip
            if not goes_well:
                return
        if not wait_for_all(team.size, team.barrier):
            return
        if not goes_on(series, epoch, params, np.int64(1), team, thread, losses):
            return


@_TRAINING.entry_point
def run_batches_on_shards(
    network, data, order, in_order, batch_size, first, last, rates, totals, noise, step, series,
    params, workspace, team, thread, losses,
):  # fmt: skip
    """Train on the batches [first, last) of each epoch: threads share the shards of each.

    Parameters
    ----------
    network, data, order, in_order, batch_size, first, last, rates, totals, noise, step : various
        As for `run_batches_together`.
    series, params, team, thread, losses : various
        As for `run_batches_together`.
    workspace : Workspace
        **Overwritten.** Each thread has one of its own, but for the gradients, one for each shard.
    """
    n_shards = workspace.gradients.size // params.size
    for epoch in range(series.n_epochs):
        for batch in range(first, last):
            begin = batch * batch_size
            n_rows = min(batch_size, order.size - begin)
            total = totals[batch - first]
            if total == 0:
                continue
            step_on_shards(
                network, data, order, in_order, begin, n_rows, total, noise + batch,
                rates[epoch * (last - first) + batch - first], step, params, workspace, team,
                thread, losses,
            )  # fmt: skip
            if not wait_for_all(team.size, team.barrier):
                return
        if not goes_on(series, epoch, params, n_shards, team, thread, losses):
            return


_PREDICTION = Interface(
    "int table", "reals", "reals", "int", "int", "reals", "ints", "int32s", "int", "int32s", "int",
    "int", "int", "bool", "reals", "reals", returns="bool",
)  # fmt: skip


@_PREDICTION.entry_point
def predict(
    layers, slopes, params, forward, product, X, indptr, indices, sparse_forward, samples, begin,
    end, capacity, checks, buffer, out,
):  # fmt: skip
    """Run the samples [begin, end) forward.

    A call from Python costs time per argument, and much more for a tuple: these are plain arrays.

    Parameters
    ----------
    layers, slopes : ndarray
        As in `Network`.
    params : ndarray of shape (n_params,)
        All parameters.
    forward, product : int
        As in `Network`: `forward_pass` and `product`.
    X, indptr, indices : ndarray
        As in `Data`.
    sparse_forward : int
        Its address, or 0 where inputs are dense.
    samples : ndarray of int32, shape (end - begin,) or (0,)
        Counts up from `begin`, where inputs are sparse.
    begin, end : int
        Which samples.
    capacity : int
        Rows that pass through the network together.
    checks : bool
        Whether dense inputs must be finite.
    buffer : ndarray of shape (n_room + capacity * units of all layers but the inputs,)
        The room of a `product` without transposed matrices, if there is one; then the activations.
        **Overwritten.** Not shared with other threads.
    out : ndarray of shape (n_samples * n_outputs,)
        **Overwritten** by the outputs, output activation applied, of these samples.

    Returns
    -------
    bool
        False if an input is not finite that must be: the outputs from there on are missing.
    """
    n_layers = layers.shape[0] - 1
    n_outputs = layers[n_layers, UNITS]
    n_units = layers[n_layers, START] + n_outputs
    n_room = buffer.size - capacity * n_units
    values, nowhere = view(buffer, n_room, capacity * n_units), view(buffer, 0, 0)
    workspace = Workspace(
        capacity, nowhere, values, nowhere, nowhere, nowhere, nowhere, nowhere, nowhere, nowhere,
        view(buffer, 0, n_room),
    )  # fmt: skip
    network = Network(layers, slopes, 0, 0, nowhere, 0, 0, NOT_NARROW, product, forward, MANY)
    data = Data(X, indptr, indices, nowhere, 0, nowhere, sparse_forward, 0)
    for position in range(begin, end, capacity):
        n_rows = min(capacity, end - position)
        inputs = first_inputs_of(
            network, data, np.bool_(True), position, np.int64(0), n_rows, nowhere
        )
        if checks and not are_finite(inputs):
            return False
        some = samples
        if samples.size:
            some = view(samples, position - begin, n_rows)
        call_forward_pass(
            forward, layers, slopes, np.int64(0), product, params, X, indptr, indices,
            sparse_forward, some, inputs, np.int64(0), n_rows, capacity, values, nowhere,
            workspace.room, np.int64(0), np.int64(0),
        )  # fmt: skip
        output_values(network, params, np.int64(0), n_rows, workspace)
        outputs = rows_of(values, layers, capacity, n_layers, np.int64(0), n_rows)
        piece = view(out, position * n_outputs, n_rows * n_outputs)
        for i in range(outputs.size):
            piece[i] = outputs[i]
    return True
