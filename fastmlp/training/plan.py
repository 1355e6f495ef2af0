"""How a batch is worked through: threads, shards, and the buffers that takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastmlp.kernels.products import FEW_ROWS, LITTLE_WORK
from fastmlp.kernels.registers import IS_FAST
from fastmlp.kernels.stochastic import BLOCK
from fastmlp.kernels.structures import Scratch, Workspace
from fastmlp.kernels.team import GRAIN
from fastmlp.training.memory import aligned_empty
from fastmlp.training.network import NetworkLayout

__all__ = [
    "Plan",
    "bounds_of_parts",
    "is_worth_own_products",
    "make_plan",
    "make_scratch",
    "make_workspaces",
    "piece_rows",
    "threads_per_sample",
]

# Bytes of activations and deltas per piece: half of a core's second-level cache, so that what a
# layer wrote is still there when the next one reads it.
_PIECE_BYTES = 512 * 1024
_MIN_PIECE, _MAX_PIECE = 64, 512
# Rows of a batch whose activations are all kept at once.
_MAX_SHARED_ROWS = 1024
# Multiply-adds that take a tenth of a second on a slow machine.
_NOTICEABLE_WORK = 10**9
# Multiply-adds per batch that end soon enough after a signal without a look between its pieces.
_MAX_SHARED_WORK = 10**10
# Multiply-adds per batch below which another thread costs more than it brings.
_WORTH_A_THREAD = 300_000
# Weights of a first layer below which the same holds for descent by single samples.
_WORTH_A_THREAD_PER_SAMPLE = 16_000
# Weights of a layer up to which loops are faster than BLAS.
_FEW_WEIGHTS = 64
# Of a value of a feature, to gather it and update its weights, where a value that is not 0 costs 1
# more; and the density from which on zeros may not be skipped.
_COST_OF_ZERO, _DENSE = 0.2, 0.6
# Features are shared in multiples of this; units, over which registers go, in whole cache lines.
_FEATURES = 4
# Rows that are left free between the blocks of two parts: the processor reads ahead, and would take
# the first rows of one from the thread that writes them.
_ROWS_BETWEEN_PARTS = 8
# Threads of which each owns weights: all activations go through as many hands.
_MAX_OWNERS = 16
_ROWS_PER_SHARD = 64
_MAX_SHARDS = 16


@dataclass(frozen=True)
class Plan:
    """How each batch is shared out.

    Attributes
    ----------
    shares_layers : bool
        Threads go through each layer of a batch together; else they share the shards of a batch
        and add up their gradients.
    n_shards : int
        Shards of a batch, which depends on the problem alone: with any number of threads the
        same sums are taken in the same order.
    capacity : int
        Rows that a workspace needs: threads that share layers have one for a batch, others one
        for each, and their shards pass through in pieces.
    useful_threads : int
        More threads would not help.
    is_slow : bool
        Whether a single batch takes so long that the caller must be free to notice a signal.
    is_narrow : bool
        Whether pieces of a batch are kept unit by unit, for layers of a few units.
    own_products : bool
        Whether a layer is so large that a product may be faster than BLAS's.
    """

    shares_layers: bool
    n_shards: int
    capacity: int
    useful_threads: int
    is_slow: bool = False
    is_narrow: bool = False
    own_products: bool = False


def piece_rows(layout: NetworkLayout, dtype: DTypeLike) -> int:
    """Return how many rows pass through the network together.

    Parameters
    ----------
    layout : NetworkLayout
        The network.
    dtype : dtype
        The compute dtype.

    Returns
    -------
    int
        A multiple of 16.
    """
    row_bytes = (layout.units[0] + 2 * sum(layout.units[1:])) * np.dtype(dtype).itemsize
    return int(np.clip(_PIECE_BYTES // row_bytes // 16 * 16, _MIN_PIECE, _MAX_PIECE))


def make_plan(
    layout: NetworkLayout, dtype: DTypeLike, batch_size: int, *, is_dense: bool = True
) -> Plan:
    """Decide how batches of a network are worked through.

    Sharing parameters costs traffic between cores in proportion to the activations, sharing
    samples in proportion to the parameters: the smaller one decides.

    Parameters
    ----------
    layout : NetworkLayout
        The network.
    dtype : dtype
        The compute dtype.
    batch_size : int
        Rows per batch.
    is_dense : bool, default=True
        Whether inputs are dense.

    Returns
    -------
    Plan
        The decision.
    """
    is_narrow = (
        is_dense
        and not any(layout.dropout)
        and not any(layout.norms)
        and all(fan_in * fan_out <= _FEW_WEIGHTS for fan_in, fan_out in layout.shapes)
    )
    work = 3 * batch_size * layout.n_weights
    activations = batch_size * sum(layout.units[1:])
    by_parameters = (
        batch_size <= _MAX_SHARED_ROWS
        and 2 * _WORTH_A_THREAD <= work < _MAX_SHARED_WORK
        and not layout.learned_slopes
        and not any(layout.norms)
        and not is_narrow
        and activations < layout.n_params
    )
    useful = max(1, work // _WORTH_A_THREAD)
    largest = max(fan_in * fan_out for fan_in, fan_out in layout.shapes)
    if by_parameters:
        return Plan(
            shares_layers=True,
            n_shards=1,
            capacity=batch_size,
            useful_threads=max(1, min(useful, batch_size // 16, _MAX_OWNERS)),
            own_products=is_worth_own_products(batch_size, largest),
        )
    n_shards = int(np.clip(batch_size // _ROWS_PER_SHARD, 1, _MAX_SHARDS))
    n_shards = 1 if useful == 1 else 1 << (n_shards.bit_length() - 1)
    rows = min(piece_rows(layout, dtype), -(-batch_size // (16 * n_shards)) * 16, batch_size)
    return Plan(
        shares_layers=False,
        n_shards=n_shards,
        capacity=rows,
        useful_threads=min(useful, n_shards),
        is_slow=work > _NOTICEABLE_WORK,
        is_narrow=is_narrow,
        own_products=is_worth_own_products(rows, largest),
    )


def is_worth_own_products(n_rows: int, n_weights: int) -> bool:
    """Return whether a layer is so large that our own products may be faster than BLAS's.

    Parameters
    ----------
    n_rows : int
        Samples that pass through it together.
    n_weights : int
        Its weights.

    Returns
    -------
    bool
        The answer.
    """
    return IS_FAST and n_rows >= FEW_ROWS and n_rows * n_weights >= LITTLE_WORK


def bounds_of_parts(
    layout: NetworkLayout, n_parts: int, densities: NDArray[np.float64] | None = None
) -> NDArray[np.int64]:
    """Decide which units of each layer each part of the work owns.

    Parameters
    ----------
    layout : NetworkLayout
        The network.
    n_parts : int
        Parts.
    densities : ndarray of shape (n_features,) or None
        How many values of each feature are not 0, where zeros are skipped; else None.

    Returns
    -------
    ndarray of int64, shape ((L + 1) * (n_parts + 1),)
        `Team.bounds`: multiples of a cache line, but for the end of a layer and for the inputs.
    """
    bounds = np.empty((len(layout.units), n_parts + 1), np.int64)
    for layer, n_units in enumerate(layout.units):
        costs = np.ones(n_units)
        if layer == 0 and densities is not None:
            costs = _COST_OF_ZERO + np.minimum(densities, _DENSE)
        starts = np.append(np.arange(0, n_units, GRAIN if layer else _FEATURES), n_units)
        before = np.append(0.0, np.cumsum(costs))[starts]
        wanted = before[-1] * np.arange(n_parts + 1) / n_parts
        # The nearest.
        bounds[layer] = starts[np.searchsorted((before[1:] + before[:-1]) / 2, wanted)]
    return bounds.reshape(-1)


def threads_per_sample(layout: NetworkLayout) -> int:
    """Return how many threads are of use in descent by single dense samples.

    Parameters
    ----------
    layout : NetworkLayout
        The network.

    Returns
    -------
    int
        At least 1.
    """
    n_features, width = layout.units[:2]
    return max(1, min(width // 16, n_features * width // _WORTH_A_THREAD_PER_SAMPLE))


def make_workspaces(
    layout: NetworkLayout,
    dtype: DTypeLike,
    plan: Plan,
    n_threads: int,
    n_parts: int,
    *,
    gathers: bool,
    has_gradients: bool,
    room_size: int,
) -> list[Workspace]:
    """Allocate the buffers of each thread.

    Threads that work on shards have all that they write to for themselves, but for the gradients.
    In memory of which each has some rows, the processor, which reads ahead, would take the first
    of one thread's rows from it for another.

    Parameters
    ----------
    layout : NetworkLayout
        The network.
    dtype : dtype
        The compute dtype.
    plan : Plan
        How batches are worked through.
    n_threads : int
        Threads.
    n_parts : int
        Parts of the work, for threads that share layers.
    gathers : bool
        Whether dense inputs are gathered.
    has_gradients : bool
        Whether there is to be room for gradients.
    room_size : int
        Size of each thread's room.

    Returns
    -------
    list of Workspace
        Uninitialised buffers, but for the weights, which are 1. The gradients are shared by all;
        where there is one shard (layers or single samples are shared), so is all but the rooms.
    """
    is_divided = plan.shares_layers and n_parts > 1
    capacity = plan.capacity + _ROWS_BETWEEN_PARTS * is_divided
    size, n_outputs = capacity * sum(layout.units[1:]), layout.units[-1]
    n_sums = 2 * n_parts * capacity * max(layout.units[1:]) * is_divided
    gradients = aligned_empty(plan.n_shards * layout.n_params * has_gradients, dtype)
    workspaces: list[Workspace] = []
    for _ in range(n_threads):
        room = aligned_empty(room_size, dtype)
        if workspaces and plan.n_shards == 1:
            workspaces.append(workspaces[0]._replace(room=room))
            continue
        workspace = Workspace(
            capacity=capacity,
            gathered=aligned_empty(capacity * layout.units[0] * gathers, dtype),
            values=aligned_empty(size, dtype),
            deltas=aligned_empty(size, dtype),
            kept=aligned_empty(capacity * layout.n_kept, dtype),
            targets=aligned_empty(capacity * n_outputs, dtype),
            terms=aligned_empty(capacity * n_outputs, dtype),
            weights=np.ones(capacity, dtype),
            gradients=gradients,
            sums=aligned_empty(n_sums, dtype),
            room=room,
        )
        workspaces.append(workspace)
    return workspaces


def make_scratch(
    layout: NetworkLayout, dtype: DTypeLike, n_threads: int, *, is_dense: bool
) -> Scratch:
    """Allocate what descent by single samples needs besides a workspace.

    Parameters
    ----------
    layout : NetworkLayout
        The network.
    dtype : dtype
        The compute dtype.
    n_threads : int
        Threads, of which the last of several is a block ahead with the products of inputs.
    is_dense : bool
        Whether inputs are dense.

    Returns
    -------
    Scratch
        Uninitialised buffers.
    """
    n_features, width = layout.units[:2]
    return Scratch(
        inputs=aligned_empty(2 * BLOCK * n_features * is_dense, dtype),
        columns=aligned_empty(n_features * width * is_dense, dtype),
        products=aligned_empty(min(n_threads, 2) * BLOCK * BLOCK * is_dense, dtype),
        starts=aligned_empty(BLOCK * width, dtype),
        errors=aligned_empty(BLOCK * width, dtype),
        linear=aligned_empty(width, dtype),
        rows=aligned_empty(max(layout.units), np.int64),
        values=aligned_empty(max(layout.units), dtype),
        turned=aligned_empty(layout.n_weights - n_features * width, dtype),
    )
