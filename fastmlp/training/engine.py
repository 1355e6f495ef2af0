"""The engine: one network bound to its data, its optimizer, its buffers and its threads.

Everything above talks of epochs, losses and arrays; everything below of offsets and codes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp._linking import compile_ahead
from fastmlp.kernels.dense import ROWS_BACK_WITHOUT_BLAS
from fastmlp.kernels.epoch import predict, run_batches_on_shards, run_batches_together
from fastmlp.kernels.forward import forward_pass
from fastmlp.kernels.optimizers import OPTIMIZERS
from fastmlp.kernels.penalties import add_l1_gradient, sum_of_squares
from fastmlp.kernels.products import room_size
from fastmlp.kernels.series import ENDED, end_epoch
from fastmlp.kernels.shards import update_parts
from fastmlp.kernels.stochastic import BLOCK, run_samples
from fastmlp.kernels.structures import Data, Series, Step, Team
from fastmlp.kernels.subnormals import AS_IT_IS, FLUSH, set_mode
from fastmlp.training.data import Indices, density_of_features, n_samples_of
from fastmlp.training.memory import aligned_empty
from fastmlp.training.network import NetworkLayout
from fastmlp.training.plan import (
    bounds_of_parts,
    is_worth_own_products,
    make_plan,
    make_scratch,
    make_workspaces,
    threads_per_sample,
)
from fastmlp.training.shuffling import Shuffle
from fastmlp.training.team import ThreadTeam
from fastmlp.training.threads import (
    is_core_to_spare,
    parts_of_work,
    reserve_threads,
    single_threaded_blas,
)

__all__ = ["Engine", "OptimizerState"]

Floats = NDArray[Any]

# A signal is noticed between calls of a kernel, and so is a core that has become free.
_SECONDS_PER_CALL = 0.05
_SECONDS_PER_CALL_OF_FEWER = 0.01
# Then a return to Python is a small part of each.
_MOST_EPOCHS_PER_CALL = 64
# Weights that run_samples passes over in about that time.
_WORK_PER_CALL = 10**8


@dataclass
class OptimizerState:
    """What an optimizer remembers between steps, and between calls of partial_fit.

    Parameters
    ----------
    name : str
        Name in :data:`~fastmlp.kernels.optimizers.OPTIMIZERS`.
    slots : ndarray of shape (n_slots, n_params)
        Its arrays.
    count : ndarray of int64, shape (1,)
        Steps taken.
    """

    name: str
    slots: Floats
    count: NDArray[np.int64]

    @classmethod
    def start(cls, name: str, params: Floats) -> OptimizerState:
        """Return the state before the first step.

        Parameters
        ----------
        name : str
            Name of the optimizer.
        params : ndarray of shape (n_params,)
            The parameters it will update.

        Returns
        -------
        OptimizerState
            Zeros.
        """
        shape = (OPTIMIZERS[name].n_slots, params.size)
        slots = aligned_empty(shape, params.dtype)
        slots[:] = 0
        return cls(name, slots, np.zeros(1, np.int64))


class Engine:
    """Trains one network on one data set; a context manager that holds its threads.

    Parameters
    ----------
    layout : NetworkLayout
        The network.
    params : ndarray of shape (n_params,)
        Its parameters. **Overwritten** by training.
    data : Data
        The training samples, possibly among others.
    optimizer : OptimizerState
        **Overwritten** by training.
    hyperparameters : mapping of str to float
        At least those that the optimizer reads.
    alpha : float
        L2 penalty.
    batch_size : int
        Samples per batch.
    n_samples : int
        Samples per epoch.
    n_jobs : int or None
        As for `reserve_threads`.
    l1 : float, default=0.0
        L1 penalty.
    max_grad_norm : float or None, default=None
        Length to which a longer gradient is shortened; None is any.

    Attributes
    ----------
    has_noise : bool
        Whether training draws random numbers.
    epochs_per_call : int
        How many epochs `run_epochs` should be asked for; 1: `run_epoch` should be called.
    """

    def __init__(
        self,
        layout: NetworkLayout,
        params: Floats,
        data: Data,
        optimizer: OptimizerState,
        hyperparameters: Mapping[str, float],
        *,
        alpha: float,
        batch_size: int,
        n_samples: int,
        n_jobs: int | None = None,
        l1: float = 0.0,
        max_grad_norm: float | None = None,
    ) -> None:
        self.params = params
        self.has_noise = any(layout.dropout)
        self.n_samples = n_samples
        # All samples in one step: their order is free, and none need be gathered.
        self.is_whole_batch = batch_size >= n_samples_of(data, layout.units[0])
        self.n_batches = -(-self.n_samples // batch_size)
        self._layout, self._data, self._batch_size = layout, data, batch_size
        is_dense = data.indptr.size == 0
        self._plan = make_plan(
            layout, params.dtype, min(batch_size, self.n_samples), is_dense=is_dense
        )
        self._gathers = is_dense and (not self.is_whole_batch or self._plan.is_narrow)
        self._may_run_samples = (
            batch_size == 1
            and optimizer.name == "sgd"
            and layout.is_plain
            and not l1
            and max_grad_norm is None
        )
        self._run_batches_of = (
            run_batches_together if self._plan.shares_layers else run_batches_on_shards
        )
        self._may_run_epochs = not self._may_run_samples and not data.sample_weight.size
        if is_core_to_spare(n_jobs):
            self._compile_ahead()
        row = OPTIMIZERS[optimizer.name]
        values = [hyperparameters[name] for name in row.hyperparameters]
        hyper = np.array([*values, layout.n_weights], np.float64)
        self._step = Step(
            row.function.address(params.dtype),
            hyper,
            optimizer.slots,
            float(alpha),
            float(l1),
            add_l1_gradient.address(params.dtype) if l1 else 0,
            np.inf if max_grad_norm is None else float(max_grad_norm),
            0 if max_grad_norm is None else sum_of_squares.address(params.dtype),
            0 if self._may_run_samples else self._address_of_update_parts(),
        )
        self._correct, self._hyper, self._count = row.correct, hyper, optimizer.count
        self._n_jobs = n_jobs
        # run_samples shrinks the weights lazily, which must not leave next to nothing of them.
        weights = data.sample_weight[data.sample_weight > 0]
        smallest = float(weights.min()) if weights.size else 1.0
        self._largest_rate = np.inf if alpha == 0 else smallest / (2 * alpha)
        own_products = self._plan.own_products
        if self._may_run_samples:
            own_products = is_dense and is_worth_own_products(
                BLOCK, layout.units[0] * layout.units[1]
            )
        self._room_size = 0
        if own_products:
            n_rows = max(self._plan.capacity, BLOCK)
            self._room_size = room_size(n_rows, max(layout.units[:-1]), params.dtype)
        fewest_rows = self.n_samples - (self.n_batches - 1) * batch_size
        self._network = layout.for_kernels(
            params.dtype,
            is_narrow=self._plan.is_narrow,
            own_products=own_products,
            has_few_rows=fewest_rows <= ROWS_BACK_WITHOUT_BLAS and not self._may_run_samples,
        )
        self._batches_per_call = max(1, min(self.n_batches, 4))
        self.epochs_per_call = 1
        none, zeros = np.empty(0, np.uint32), np.zeros(0)
        self._one_epoch = Series(
            1,
            0,
            np.empty(0, np.int32),
            none,
            none,
            1,
            zeros,
            zeros,
            np.empty(0, np.int64),
            np.empty(0, params.dtype),
        )
        # run_samples rounds differently at the end of each call: where it ends must not depend on
        # how long it takes.
        self._samples_per_call = max(1, _WORK_PER_CALL // layout.n_weights)
        self._held = contextlib.ExitStack()
        self._useful_threads = self._plan.useful_threads
        if self._may_run_samples:
            self._useful_threads = 1 if data.indptr.size else threads_per_sample(layout)

    def _compile_ahead(self) -> None:
        """Compile what takes longest in two processes at once, if it is not on disk."""
        # About half of all for each. The last is not needed to begin with.
        elsewhere = [run_samples if self._may_run_samples else self._run_batches_of]
        if self._may_run_epochs:
            elsewhere.append(end_epoch)
        compile_ahead(elsewhere, [forward_pass, predict], self.params.dtype)

    def _address_of_update_parts(self) -> int:
        """Return it, after compiling it if it is asked for first; 0 where threads share layers."""
        return 0 if self._plan.shares_layers else update_parts.address(self.params.dtype)

    def __enter__(self) -> Engine:
        """Reserve and start threads.

        Returns
        -------
        Engine
            This engine.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(single_threaded_blas())
            n_threads = stack.enter_context(reserve_threads(self._n_jobs, self._useful_threads))
            team = ThreadTeam(n_threads, caller_works=not self._plan.is_slow)
            self._threads = stack.enter_context(team)
            dtype = self.params.dtype
            if self._may_run_samples:
                is_dense = self._data.indptr.size == 0
                self._scratch = make_scratch(self._layout, dtype, n_threads, is_dense=is_dense)
            n_parts = max(n_threads, parts_of_work(self._n_jobs, self._useful_threads))
            densities = None
            skips = self._data.indptr.size or self._network.product
            if self._plan.shares_layers and n_parts > 1 and skips:
                densities = density_of_features(self._data, self._layout.units[0])
            bounds = bounds_of_parts(self._layout, n_parts, densities)
            self._team = Team(n_threads, n_parts, self._threads.barrier, bounds)
            self._workspaces = make_workspaces(
                self._layout, dtype, self._plan, n_threads, n_parts, gathers=self._gathers,
                has_gradients=not self._may_run_samples, room_size=self._room_size,
            )  # fmt: skip
            self._choose_size()
            # All is held: keep it until the engine is left. Had anything failed, it were released.
            self._held = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        """Give the threads back.

        Parameters
        ----------
        *exception
            Ignored.
        """
        self._held.close()

    def run_epoch(self, order: Indices, in_order: bool, rates: Floats, seed: int = 0) -> float:
        """Train on every batch once.

        Parameters
        ----------
        order : ndarray of int32, shape (n_samples,)
            Order of the samples.
        in_order : bool
            Whether `order` counts up from 0.
        rates : ndarray of float64, shape (n_batches,) or (1,)
            Learning rate of each step, or of all.
        seed : int, default=0
            In [0, 2^31): what dropout draws from.

        Returns
        -------
        float
            Mean over samples of their batch's loss, penalty included, each before its update.
        """
        losses = self._no_losses()
        if self._may_run_samples and rates.max() <= self._largest_rate:
            for first in range(0, self.n_batches, self._samples_per_call):
                last = min(first + self._samples_per_call, self.n_batches)
                arguments = (
                    self._network, self._data, order, first, last,
                    rates[first:last] if rates.size > 1 else rates, self._step, self.params,
                    self._scratch,
                )  # fmt: skip
                self._run_together(run_samples, arguments, losses, last - first)
            self._count[0] += self.n_batches
        else:
            if not self._workspaces[0].gradients.size:
                # A rate too large for `run_samples`, which does without: that is rare.
                self._step = self._step._replace(update_parts=self._address_of_update_parts())
                gradients = aligned_empty(
                    self._plan.n_shards * self._layout.n_params, self.params.dtype
                )
                self._workspaces = [
                    workspace._replace(gradients=gradients) for workspace in self._workspaces
                ]
            self._run_batches(order, in_order, rates, (seed << 32) + int(self._count[0]), losses)
        # As `loss_of_epoch` does, for which Python's own numbers are faster.
        summands, n_shards = losses[:, 0].tolist(), self._plan.n_shards
        data_loss = penalty = 0.0
        for summand in summands[:n_shards]:
            data_loss += summand
        for summand in summands[n_shards:]:
            penalty += summand
        return (data_loss / self._layout.n_averaged + penalty) / self.n_samples

    def run_epochs(
        self,
        n_epochs: int,
        order: Indices,
        taken: Indices,
        in_order: bool,
        rates: Floats,
        shuffle: Shuffle | None,
        judged: Floats,
        kept: Floats,
        losses: list[float],
    ) -> None:
        """Train for some epochs, or until one shows no improvement for too long, or diverges.

        Parameters
        ----------
        n_epochs : int
            At most `epochs_per_call`.
        order : ndarray of int32, shape (n_samples,)
            Order of the samples in the first epoch. **Overwritten** by that of the last one.
        taken : ndarray of int32, shape (n_samples,)
            In which order they are taken: `order`, or another one that always is the same.
        in_order : bool
            Whether `taken` counts up from 0.
        rates : ndarray of float64, shape (1,)
            Learning rate of all steps.
        shuffle : Shuffle or None
            Shuffles `order` before each epoch but the first.
        judged : ndarray of float64, shape (4,)
            As in `Series`. **Overwritten.**
        kept : ndarray of shape (n_params,)
            **Overwritten** by the parameters after the last epoch that ended well.
        losses : list of float
            Gets the loss of each epoch that has ended, even if there is an interrupt.
        """
        none = np.empty(0, np.uint32)
        borrowed = none if shuffle is None else shuffle.borrow()
        generator = borrowed.copy()
        curve, counts = np.empty(n_epochs), np.zeros(2, np.int64)
        series = Series(
            n_epochs,
            end_epoch.address(self.params.dtype),
            order,
            generator,
            none if shuffle is None else shuffle.words,
            self._layout.n_averaged,
            judged,
            curve,
            counts,
            kept,
        )
        summands = self._no_losses()
        steps = np.arange(1, n_epochs * self.n_batches + 1)
        rates = self._corrected(rates, steps)
        try:
            seconds = self._call(
                series, taken, in_order, 0, self.n_batches, rates, self._totals, 0, summands
            )
        finally:
            n_ended = int(counts[ENDED])
            losses.extend(curve[:n_ended].tolist())
            self._count[0] += n_ended * self.n_batches
            if shuffle is not None:
                shuffle.give_back(borrowed, generator)
        self._choose_epochs_per_call(seconds / n_ended)

    def loss_and_gradient(self, order: Indices) -> tuple[float, Floats]:
        """Return the loss of all samples, penalty included, and its gradient.

        The optimizer must be ``"no_step"`` and the batch all samples.

        Parameters
        ----------
        order : ndarray of int32, shape (n_samples,)
            Counts up from 0.

        Returns
        -------
        loss : float
            Mean loss.
        gradient : ndarray of shape (n_params,)
            A view that the next call overwrites.
        """
        loss = self.run_epoch(order, True, np.ones(1))
        return loss, self._workspaces[0].gradients[: self.params.size]

    @cached_property
    def _totals(self) -> Floats:
        """Samples in each batch, where all weigh 1."""
        totals = np.full(self.n_batches, self._batch_size, np.float64)
        totals[-1] = self.n_samples - (self.n_batches - 1) * self._batch_size
        return totals

    def _no_losses(self) -> Floats:
        """Return a row of zeros for each shard and each part: a cache line of its own."""
        losses = aligned_empty((self._plan.n_shards + self._team.n_parts, 8), np.float64)
        losses[:] = 0
        return losses

    def _run_together(
        self,
        kernel: Callable[..., None],
        arguments: tuple[Any, ...],
        losses: Floats,
        n_samples: int,
    ) -> None:
        team = self._team._replace(size=self._threads.n_working)

        def work(thread: int) -> None:
            # In two steps: an interrupt comes after either, and the second must be undone.
            before = set_mode(AS_IT_IS)
            try:
                set_mode(FLUSH)
                kernel(*arguments, self._workspaces[thread], team, thread, losses)
            finally:
                set_mode(before)

        self._threads.run(work, ends_together=True, amount=n_samples)
        self._choose_size()

    def _choose_size(self) -> None:
        """Choose how many threads work next, and for how long until this is asked again."""
        is_complete = self._threads.choose_size()
        self._seconds_per_call = _SECONDS_PER_CALL if is_complete else _SECONDS_PER_CALL_OF_FEWER

    def _run_batches(
        self, order: Indices, in_order: bool, rates: Floats, noise: int, losses: Floats
    ) -> None:
        """Run all batches, in calls short enough for a signal to be noticed between them."""
        if self._data.sample_weight.size:
            weights = self._data.sample_weight.astype(np.float64)[order]
            totals = np.add.reduceat(weights, np.arange(0, self.n_samples, self._batch_size))
            # A batch without weight is no step; the first may be one.
            steps = np.maximum(np.cumsum(totals > 0), 1)
        else:
            totals, steps = self._totals, np.arange(1, self.n_batches + 1)
        rates = self._corrected(rates, steps)
        first, seconds = 0, 0.0
        while first < self.n_batches:
            last = min(first + self._batches_per_call, self.n_batches)
            elapsed = self._call(
                self._one_epoch, order, in_order, first, last, rates[first:last],
                totals[first:last], noise, losses,
            )  # fmt: skip
            seconds += elapsed
            per_call = int((last - first) * self._seconds_per_call / elapsed)
            self._batches_per_call = min(max(1, per_call), 8 * self._batches_per_call)
            first = last
        self._count[0] += np.count_nonzero(totals)
        self._choose_epochs_per_call(seconds)

    def _corrected(self, rates: Floats, steps: NDArray[np.int64]) -> Floats:
        """Return what the optimizer is given as the rates of some steps from now on."""
        rates = np.broadcast_to(rates, steps.shape)
        if self._correct is None:
            return np.array(rates).reshape(-1, 1)
        return self._correct(self._hyper, rates, self._count + steps)

    def _call(
        self,
        series: Series,
        order: Indices,
        in_order: bool,
        first: int,
        last: int,
        rates: Floats,
        totals: Floats,
        noise: int,
        losses: Floats,
    ) -> float:
        """Let all threads run some batches, and return how many seconds that took."""
        arguments = (
            self._network, self._data, order, in_order, self._batch_size, first, last, rates,
            totals, noise, self._step, series, self.params,
        )  # fmt: skip
        started = time.perf_counter()
        n_samples = min(last * self._batch_size, self.n_samples) - first * self._batch_size
        n_samples *= series.n_epochs
        self._run_together(self._run_batches_of, arguments, losses, n_samples)
        return max(time.perf_counter() - started, 1e-7)

    def _choose_epochs_per_call(self, seconds: float) -> None:
        """Look at how long an epoch took."""
        if self._may_run_epochs and not end_epoch.is_in_the_making(self.params.dtype):
            n_epochs = min(int(self._seconds_per_call / seconds), _MOST_EPOCHS_PER_CALL)
            self.epochs_per_call = max(1, n_epochs)
