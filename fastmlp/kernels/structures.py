"""What the kernels are handed: named tuples of few flat arrays and integers.

Depth, widths, activations, loss and solver are values in these arrays, never types, so that one
compiled specialisation per dtype serves every network. All arrays are C-contiguous, all floats of
one dtype (float32 or float64) unless said otherwise. Arrays are few, as every one of them makes
every call longer to compile: what belongs together is a row or a column of one array.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmlp._jit import inlined_kernel

__all__ = ["Data", "Network", "Step", "Team", "Workspace", "rows_of"]

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]

# Columns of Network.layers.
UNITS, START, WEIGHTS, BIASES, ACTIVATION, KEEPS_INPUT, SLOPE = range(7)
# Rows of Workspace.layers.
VALUES, DELTAS, INPUTS = range(3)
# Rows of Workspace.samples.
TARGETS, TERMS, WEIGHT = range(3)


class Network(NamedTuple):
    """A network of L layers of weights.

    Attributes
    ----------
    layers : ndarray of int64, shape (L + 1, 7)
        Row l is about layer l, the inputs being layer 0: UNITS, its width; START, the units of the
        hidden layers before it. And about the layer of weights that leads from it to the next:
        WEIGHTS and BIASES, where they start in the flat parameter vector; ACTIVATION, the code of
        what follows; KEEPS_INPUT, 1 where its derivative needs the pre-activation; SLOPE, where a
        learned slope is in the parameter vector, or -1.
    slopes : ndarray of float, shape (L,)
        Fixed slope parameter of each activation.
    n_weights : int
        Length of the weights at the head of the parameter vector, the part that L2 penalises.
    loss : int
        Code of the loss.
    takes_logits : int
        1 where the output activation is merged into the loss.
    """

    layers: Integers
    slopes: Floats
    n_weights: int
    loss: int
    takes_logits: int


class Data(NamedTuple):
    """Samples, dense or sparse.

    Attributes
    ----------
    X : ndarray of shape (n_samples * n_features,) or (n_values,)
        Dense inputs, rows one after another, or the stored values of CSR. Never written.
    indptr : ndarray of int64, shape (n_samples + 1,) or (0,)
        Where the rows of CSR start; empty where inputs are dense.
    indices : ndarray of int32, shape (n_values,) or (0,)
        The feature of each stored value, at most once per row.
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
    targets: Floats
    n_targets: int
    sample_weight: Floats


class Workspace(NamedTuple):
    """Buffers that one call after another overwrites.

    Attributes
    ----------
    capacity : int
        Rows of a batch that fit.
    gathered : ndarray of shape (capacity * n_features,) or (0,)
        Dense inputs of a batch whose samples are not next to each other.
    layers : ndarray of shape (1 to 3, capacity * units of all layers but the inputs)
        Per layer of the network, a matrix of `capacity` rows, which `rows_of` finds. In VALUES
        activations; in DELTAS the gradient of the loss with respect to the pre-activations; in
        INPUTS pre-activations that were kept. Prediction needs VALUES only.
    samples : ndarray of shape (3, capacity * n_outputs)
        Per row of a batch: TARGETS; TERMS, its terms of the loss; WEIGHT, its sample weight.
    gradients : ndarray of shape (n_shards, n_params)
        One mean gradient per shard of a batch.
    """

    capacity: int
    gathered: Floats
    layers: Floats
    samples: Floats
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
def rows_of(workspace, which, network, layer, start, stop):
    """Return the rows [start, stop) of a layer's matrix as a 1-D view.

    Parameters
    ----------
    workspace : Workspace
        The buffers.
    which : int
        VALUES, DELTAS or INPUTS.
    network : Network
        The network.
    layer : int
        Layer, from 1.
    start, stop : int
        The rows.

    Returns
    -------
    ndarray of shape ((stop - start) * units,)
        A view.
    """
    units = network.layers[layer, UNITS]
    first = workspace.capacity * network.layers[layer, START]
    return workspace.layers[which, first + start * units : first + stop * units]
