"""The matrix products of an epoch and nothing else: the limit of a workload that they dominate.

Products have the shapes of the real ones, preallocated outputs and operands that stay in cache as
far as they fit: no gathering of rows, no activation, no update. They are NumPy's.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from workloads import Task

__all__ = ["Replay"]


class Replay:
    """The products as a `peers.Trainer` that trains nothing.

    Parameters
    ----------
    task : Task
        What the products are taken from.
    threads : int
        Number of threads.
    variant : {"blas-threads", "split-batch", "split-units"}
        Who divides the work: BLAS, or we ourselves with one BLAS thread in each of our threads,
        by rows of the batch or by units of each layer. Ours never wait for each other.
    """

    loss_includes_penalty = False

    def __init__(self, task: Task, threads: int, variant: str) -> None:
        workload = task.workload
        n_shares = 1 if variant == "blas-threads" else threads
        threadpool_limits(1 if n_shares > 1 else threads)
        n_full, rest = divmod(workload.n_samples, workload.batch_size)
        self._batches = [workload.batch_size] * n_full + [rest] * (rest > 0)
        self._shares = [
            _Share(task, index, n_shares, by_units=variant == "split-units")
            for index in range(n_shares)
        ]
        self._pool = ThreadPoolExecutor(n_shares)

    def reset(self) -> None:
        """Do nothing: there is no state."""

    def run(self, n_epochs: int) -> None:
        """Compute the products.

        Parameters
        ----------
        n_epochs : int
            Number of epochs.
        """
        batches = self._batches * n_epochs
        if len(self._shares) == 1:
            self._shares[0].run(batches)
        else:
            for done in [self._pool.submit(share.run, batches) for share in self._shares]:
                done.result()

    def losses(self) -> list[float]:
        """Return nothing: no loss is computed.

        Returns
        -------
        list of float
            Empty.
        """
        return []

    def weights(self) -> list[NDArray[Any]]:
        """Return nothing: no weight changes.

        Returns
        -------
        list of ndarray
            Empty.
        """
        return []


class _Share:
    """One thread's part of every product.

    Parameters
    ----------
    task : Task
        What the products are taken from.
    index, n_shares : int
        Which part of how many.
    by_units : bool
        Whether the units of each layer are divided rather than the rows of the batch.
    """

    def __init__(self, task: Task, index: int, n_shares: int, by_units: bool) -> None:
        self._index, self._n_shares, self._by_units = index, n_shares, by_units
        rng = np.random.default_rng(0)
        n_rows = self._rows(task.workload.batch_size)
        self._layers = []
        for W in task.weights:
            fan_in, fan_out = W.shape
            if by_units:
                W = np.ascontiguousarray(np.array_split(W, n_shares, axis=1)[index])
                fan_out = W.shape[1]
            inputs = rng.random((n_rows, fan_in)).astype(task.dtype)
            outputs = rng.random((n_rows, fan_out)).astype(task.dtype)
            self._layers.append((W, inputs, outputs, np.empty_like(W), np.empty_like(inputs)))

    def _rows(self, batch: int) -> int:
        return batch if self._by_units else len(range(self._index, batch, self._n_shares))

    def run(self, batches: list[int]) -> None:
        """Compute this part of the products of some batches.

        Parameters
        ----------
        batches : list of int
            Number of rows of each batch.
        """
        for batch in batches:
            n = self._rows(batch)
            for W, inputs, outputs, _, _ in self._layers:
                np.dot(inputs[:n], W, out=outputs[:n])
            for layer, (W, inputs, outputs, W_grad, inputs_grad) in reversed(
                list(enumerate(self._layers))
            ):
                if layer:
                    np.dot(outputs[:n], W.T, out=inputs_grad[:n])
                np.dot(inputs[:n].T, outputs[:n], out=W_grad)
