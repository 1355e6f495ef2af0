"""What the kernels are handed: named tuples of flat arrays and integers.

Depth, widths, activations, loss and solver are values in these arrays, never types, so that one
compiled specialisation per dtype serves every network. All arrays are C-contiguous, all floats of
one dtype (float32 or float64) unless said otherwise.

A matrix of a workspace that belongs to layer l, of `capacity` rows, starts at
``capacity * network.starts[l]`` and holds its rows one after another; `rows_of` is the view.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmlp._jit import inlined_kernel

__all__ = ["Data", "Network", "Step", "Team", "Workspace", "rows_of"]

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]


class Network(NamedTuple):
    """A network of L layers of weights.

    Attributes
    ----------
    units : ndarray of int64, shape (L + 1,)
        Width of each layer, inputs first.
    starts : ndarray of int64, shape (L + 1,)
        Units before each layer.
    weight_offsets, bias_offsets : ndarray of int64, shape (L,)
        Where W_l, of shape (fan_in, fan_out), and b_l start in the flat parameter vector.
    activations : ndarray of int64, shape (L,)
        Code of what each layer applies, the output's last.
    keeps_input : ndarray of int64, shape (L,)
        1 where the derivative needs the pre-activation.
    slopes : ndarray of float, shape (L,)
        Fixed slope parameter of each activation.
    slope_offsets : ndarray of int64, shape (L,)
        Where a learned slope is in the parameter vector; -1 where the slope is fixed.
    n_weights : int
        Length of the weights at the head of the parameter vector, the part that L2 penalises.
    loss : int
        Code of the loss.
    takes_logits : int
        1 where the output activation is merged into the loss.
    """

    units: Integers
    starts: Integers
    weight_offsets: Integers
    bias_offsets: Integers
    activations: Integers
    keeps_input: Integers
    slopes: Floats
    slope_offsets: Integers
    n_weights: int
    loss: int
    takes_logits: int


class Data(NamedTuple):
    """Samples, dense or sparse.

    Attributes
    ----------
    X : ndarray of shape (n_samples * n_features,)
        Dense inputs, rows one after another; empty where sparse. Never written.
    indptr, indices, values : ndarray of int64, int32 and float
        Sparse inputs in CSR form; empty where dense.
    targets : ndarray of shape (n_samples * n_targets,)
        Class index (softmax) or value of each output.
    n_targets : int
        Targets per sample.
    sample_weight : ndarray of shape (n_samples,) or (0,)
        Empty where every sample weighs 1.
    """

    X: Floats
    indptr: Integers
    indices: NDArray[np.int32]
    values: Floats
    targets: Floats
    n_targets: int
    sample_weight: Floats


class Workspace(NamedTuple):
    """Buffers that one call after another overwrites.

    Attributes
    ----------
    capacity : int
        Rows that fit.
    activations, inputs, deltas : ndarray of shape (capacity * total units,)
        Per layer: activations (the gathered batch as layer 0), kept pre-activations, and the
        gradient of the loss with respect to the pre-activations.
    targets, terms : ndarray of shape (capacity * n_outputs,)
        Targets of the batch, loss terms of the batch.
    weights : ndarray of shape (capacity,)
        Sample weights of the batch.
    gradients : ndarray of shape (n_shards, n_params)
        One mean gradient per shard of a batch.
    """

    capacity: int
    activations: Floats
    inputs: Floats
    deltas: Floats
    targets: Floats
    terms: Floats
    weights: Floats
    gradients: Floats


class Step(NamedTuple):
    """How parameters are updated.

    Attributes
    ----------
    optimizer : int
        Code of the optimizer.
    hyper : ndarray of float64
        Its hyperparameters.
    slots : ndarray of shape (n_slots, n_params)
        Its memory.
    count : ndarray of int64, shape (1,)
        Steps taken so far.
    alpha : float
        L2 penalty, as float64.
    """

    optimizer: int
    hyper: NDArray[np.float64]
    slots: Floats
    count: Integers
    alpha: float


class Team(NamedTuple):
    """The threads that share each batch.

    Attributes
    ----------
    size : int
        Number of threads.
    shares_parameters : int
        1: threads share the rows of a batch, then the rows of each weight matrix. 0: they share
        the shards of a batch, each with a gradient of its own, then reduce.
    barrier : ndarray of int64, shape (24,)
        Where they meet, as `wait_for_all` describes; zeros at the start.
    """

    size: int
    shares_parameters: int
    barrier: Integers


@inlined_kernel
def rows_of(buffer, network, capacity, layer, start, stop):
    """Return the rows [start, stop) of a layer's matrix as a 1-D view.

    Parameters
    ----------
    buffer : ndarray, 1-D
        One of the workspace's per-layer buffers.
    network : Network
        The network.
    capacity : int
        Rows of each matrix.
    layer : int
        Layer, 0 for the inputs.
    start, stop : int
        The rows.

    Returns
    -------
    ndarray of shape ((stop - start) * units,)
        A view.
    """
    units = network.units[layer]
    first = capacity * network.starts[layer]
    return buffer[first + start * units : first + stop * units]
