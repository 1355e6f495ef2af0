"""What the kernels are handed: named tuples of flat arrays and integers.

Depth, widths, activations, loss and solver are values in these arrays, never types, so that one
compiled specialisation per dtype serves every network. All arrays are C-contiguous, all floats of
one dtype (float32 or float64) unless said otherwise.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmlp._jit import view_kernel
from fastmlp.kernels.dense import Few
from fastmlp.kernels.narrow import Narrow
from fastmlp.kernels.views import view

__all__ = [
    "Data", "Network", "Scratch", "Series", "Step", "Team", "Workspace", "elements_of", "kept_of",
    "rows_of",
]  # fmt: skip

# Annotated with what an `Interface` calls them.
Floats = Annotated[NDArray[np.floating], "reals"]
Matrix = Annotated[NDArray[np.floating], "matrix"]
Doubles = Annotated[NDArray[np.float64], "doubles"]
Integers = Annotated[NDArray[np.int64], "ints"]
IntegerTable = Annotated[NDArray[np.int64], "int table"]
Indices = Annotated[NDArray[np.int32], "int32s"]
Words = Annotated[NDArray[np.uint32], "uint32s"]

# Columns of Network.layers.
(
    UNITS, START, WEIGHTS, BIASES, FORWARD, BACKWARD, IS_SPARSE, SLOPE, NORM, NORMALISE,
    DERIVE_NORM, DROP, DERIVE_DROP, THRESHOLD, INPUTS, DROPPED, NORMS,
) = range(17)  # fmt: skip
N_COLUMNS = 17


class Network(NamedTuple):
    """A network of L layers of weights.

    Attributes
    ----------
    layers : ndarray of int64, shape (L + 1, 17)
        Row l is about layer l, the inputs being layer 0: UNITS, its width; START, the units of the
        hidden layers before it. And about the layer of weights that leads from it to the next:
        WEIGHTS and BIASES, where they start in the flat parameter vector; FORWARD and BACKWARD,
        the addresses of what follows and of its derivative; IS_SPARSE, 1 where the latter is 0
        wherever the activation is; SLOPE, where a learned slope is in the parameter vector, or -1;
        NORM, where scales and offsets of a normalisation are, NORMALISE and DERIVE_NORM, its
        addresses, 0 where there is none; DROP, DERIVE_DROP and THRESHOLD, addresses and threshold
        of the dropout, likewise; INPUTS, DROPPED and NORMS, where in `Workspace.kept` there are
        pre-activations that the derivative needs, activations after dropout, and what the
        derivative of the normalisation needs: numbers per row before them, or -1.
    slopes : ndarray of float, shape (L,)
        Fixed slope parameter of each activation.
    n_weights : int
        Length of the weights at the head of the parameter vector, the part that L2 penalises.
    loss : int
        Address of the loss.
    loss_parameters : ndarray of float, shape (n_outputs,)
        What the loss reads besides values and targets: per output, its own parameter.
    takes_logits : int
        1 where the output activation is merged into the loss.
    n_terms : int
        Terms of the loss per sample.
    narrow : Narrow
        Addresses where matrices of a piece are kept unit by unit, but for the outputs; or zeros.
    product : int
        Address of `product`; 0 where layers are too small for it, or where the processor is not
        known to gain by it.
    forward_pass : int
        Address of `forward_pass`.
    few : Few
        Addresses for batches of a few samples; zeros where there are none.
    """

    layers: IntegerTable
    slopes: Floats
    n_weights: int
    loss: int
    loss_parameters: Floats
    takes_logits: int
    n_terms: int
    narrow: Narrow
    product: int
    forward_pass: int
    few: Few


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
    forward, gradient : int
        Addresses of `sparse_forward` and `sparse_weight_gradient`; 0 where inputs are dense.
    """

    X: Floats
    indptr: Integers
    indices: Indices
    targets: Floats
    n_targets: int
    sample_weight: Floats
    forward: int
    gradient: int


class Workspace(NamedTuple):
    """Buffers that one call after another overwrites.

    Attributes
    ----------
    capacity : int
        Rows that fit: of a whole batch in `step_together`, else of a piece of a shard.
    gathered : ndarray of shape (capacity * n_features,) or (0,)
        Dense inputs of a batch whose samples are not next to each other.
    values, deltas : ndarray of shape (capacity * units of all layers but the inputs,)
        Per layer of the network, a matrix of `capacity` rows, which `rows_of` finds: activations;
        gradients of the loss with respect to the pre-activations. Prediction needs `values` only.
    kept : ndarray of shape (capacity * what is kept of a row,) or (0,)
        What the backward pass needs besides: matrices of `capacity` rows, which `kept_of` finds.
        In `step_together` these, the gathered inputs and all layers but the output are blocks of
        some units each, one after another.
    targets, terms : ndarray of shape (capacity * n_outputs,)
        Targets of a batch, and its terms of the loss.
    weights : ndarray of shape (capacity,)
        Its sample weights.
    gradients : ndarray of shape (n_shards * n_params,) or (0,)
        One mean gradient per shard of a batch, one after another. `run_samples` needs none.
    sums : ndarray of shape (2 * n_parts * capacity * width of the widest layer,) or (0,)
        For `step_together`: what each part's units add to the pre-activations of the next layer,
        in turns in one half and the other; later, the deltas of a whole layer.
    room : ndarray of shape (room_size(...),) or (0,)
        For `product`; each thread has one of its own.
    """

    capacity: int
    gathered: Floats
    values: Floats
    deltas: Floats
    kept: Floats
    targets: Floats
    terms: Floats
    weights: Floats
    gradients: Floats
    sums: Floats
    room: Floats


class Scratch(NamedTuple):
    """What `run_samples` needs besides row 0 of a workspace; its block has at most BLOCK samples.

    Attributes
    ----------
    inputs : ndarray of shape (2 * BLOCK * n_features,) or (0,)
        Dense inputs of a block, and of the next.
    columns : ndarray of shape (n_features * units of the first layer,) or (0,)
        Weights of the first layer: each thread's columns as a matrix of their own.
    products : ndarray of shape (min(n_threads, 2) * BLOCK * BLOCK,) or (0,)
        Inner products of the inputs of a block; where there are several threads, also of the next.
    starts, errors : ndarray of shape (BLOCK * units of the first layer,)
        Pre-activations by the weights at the start of the block, each thread's columns as a matrix
        of their own; deltas times their step.
    linear : ndarray of shape (units of the first layer,)
        Pre-activations of a sample without their bias.
    rows : ndarray of int64, shape (the most units,)
        Which rows of a matrix to touch.
    values : ndarray of shape (the most units,)
        How often they count.
    turned : ndarray of shape (n_weights of all layers but the first,)
        Transposed weights of layers with few outputs, where the weights themselves would be.
    """

    inputs: Floats
    columns: Floats
    products: Floats
    starts: Floats
    errors: Floats
    linear: Floats
    rows: Integers
    values: Floats
    turned: Floats


class Step(NamedTuple):
    """How parameters are updated.

    Attributes
    ----------
    optimizer : int
        Address of the optimizer.
    hyper : ndarray of float64
        Its hyperparameters.
    slots : ndarray of shape (n_slots, n_params)
        Its memory.
    alpha, l1 : float
        L2 and L1 penalty, as float64.
    add_l1 : int
        Address of `add_l1_gradient`; 0 where there is no such penalty.
    max_norm : float
        Largest norm of the gradient, as float64.
    sum_squares : int
        Address of `sum_of_squares`; 0 where the norm has no limit.
    update_parts : int
        Address of `update_parts`; 0 where threads go through layers together, or single samples
        are enough.
    """

    optimizer: int
    hyper: Doubles
    slots: Matrix
    alpha: float
    l1: float
    add_l1: int
    max_norm: float
    sum_squares: int
    update_parts: int


class Series(NamedTuple):
    """Epochs that follow one another without a return to Python in between.

    Attributes
    ----------
    n_epochs : int
        How many, unless something happens before that Python must see to.
    end_epoch : int
        Address of `end_epoch`; 0 where Python itself ends the only epoch.
    order : ndarray of int32, shape (n_samples,)
        What is shuffled before each epoch but the first.
    generator : ndarray of uint32, shape (625,) or (0,)
        State of the random numbers; empty where nothing is shuffled.
    words : ndarray of uint32, shape (624,) or (0,)
        Room for these.
    n_averaged : int
        Outputs over which the loss is averaged, once it is summed.
    judged : ndarray of float64, shape (4,)
        Smallest loss so far; by how much a loss must fall below it; for how many epochs none did;
        and how many of these there may be.
    curve : ndarray of float64, shape (n_epochs,)
        Loss of each epoch.
    counts : ndarray of int64, shape (2,)
        Epochs that have ended; whether another one is to come.
    kept : ndarray of shape (n_params,)
        Parameters after the last epoch that ended well.
    """

    n_epochs: int
    end_epoch: int
    order: Indices
    generator: Words
    words: Words
    n_averaged: int
    judged: Doubles
    curve: Doubles
    counts: Integers
    kept: Floats


class Team(NamedTuple):
    """The threads that share each batch.

    Attributes
    ----------
    size : int
        Number of threads.
    n_parts : int
        Parts that work is divided into, at least `size`. Rounding depends on them, and not on how
        many threads there are to work on them.
    barrier : ndarray of int64, shape (24,)
        For `wait_for_all`.
    bounds : ndarray of int64, shape ((L + 1) * (n_parts + 1),)
        For `step_together`: part k owns the units [bounds[i], bounds[i + 1]) of layer l, with
        i = l * (n_parts + 1) + k.
    """

    size: int
    n_parts: int
    barrier: Integers
    bounds: Integers


@view_kernel
def elements_of(matrices, layers, capacity, layer, first, size):
    """Return the elements [first, first + size) of a layer's matrix as a 1-D view.

    Parameters
    ----------
    matrices : ndarray
        Values or deltas of a `Workspace`.
    layers : ndarray
        Of the `Network`.
    capacity : int
        Rows of each matrix.
    layer : int
        Layer, from 1.
    first, size : int
        The elements, row by row.

    Returns
    -------
    ndarray of shape (size,)
        A view.
    """
    return view(matrices, capacity * layers[layer, START] + first, size)


@view_kernel
def rows_of(matrices, layers, capacity, layer, start, n_rows):
    """Return the rows [start, start + n_rows) of a layer's matrix as a 1-D view.

    Parameters
    ----------
    matrices : ndarray
        Values or deltas of a `Workspace`.
    layers : ndarray
        Of the `Network`.
    capacity : int
        Rows of each matrix.
    layer : int
        Layer, from 1.
    start, n_rows : int
        The rows.

    Returns
    -------
    ndarray of shape (n_rows * units,)
        A view.
    """
    units = layers[layer, UNITS]
    return elements_of(matrices, layers, capacity, layer, start * units, n_rows * units)


@view_kernel
def kept_of(kept, capacity, before, first, size):
    """Return elements of what was kept of a layer as a 1-D view.

    Parameters
    ----------
    kept : ndarray
        Of a `Workspace`.
    capacity : int
        Rows of each matrix.
    before : int
        Where the matrix is: INPUTS, DROPPED or NORMS of the layer.
    first, size : int
        The elements, row by row.

    Returns
    -------
    ndarray of shape (size,) or (0,)
        A view; empty where nothing is kept, as in prediction.
    """
    if not kept.size:
        return kept
    return view(kept, capacity * before + first, size)
