"""The predictor: one network, with all that its forward passes need prepared."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.kernels.dense import ROWS_WITHOUT_BLAS
from fastmlp.kernels.epoch import predict
from fastmlp.kernels.products import FEW_ROWS, OWN_WORK, product, room_size
from fastmlp.kernels.structures import Data
from fastmlp.training.data import kernel_data, n_samples_of, sample_numbers
from fastmlp.training.memory import aligned_empty
from fastmlp.training.network import NetworkLayout
from fastmlp.training.plan import is_worth_own_products, piece_rows
from fastmlp.training.team import ThreadTeam
from fastmlp.training.threads import reserve_threads, single_threaded_blas

__all__ = ["Predictor"]

Floats = NDArray[Any]

# Multiply-adds of a product below which OpenBLAS keeps to one thread without being told.
_SHARED_BY_BLAS = 200_000
_NO_SAMPLES = np.empty(0, np.int32)
# Rows with which a layer must be worth products of our own, to have them compiled for predictions.
_WORTH_COMPILATION = 64
# Multiply-adds of a prediction that are worth another thread.
_WORTH_A_THREAD = 10_000_000


class Predictor:
    """Runs one network forward, with what does not change between calls prepared.

    Safe to call from several threads at once.

    Parameters
    ----------
    layout : NetworkLayout
        The network.
    params : ndarray of shape (n_params,)
        Its parameters, read at each call.
    """

    def __init__(self, layout: NetworkLayout, params: Floats) -> None:
        self.layout, self.params = layout, params
        self._network: tuple[Floats, Floats, Floats, int] | None = None
        self._dense = np.empty(0, np.int64), np.empty(0, np.int32), 0
        self._n_features, self._n_outputs = layout.units[0], layout.units[-1]
        self._n_units = sum(layout.units[1:])
        self._most_weights = max(fan_in * fan_out for fan_in, fan_out in layout.shapes)
        self._rows = piece_rows(layout, params.dtype)
        self._n_room = room_size(0, 0, params.dtype)

    def outputs(self, X: Floats, n_jobs: int | None = None) -> Floats | None:
        """Return the outputs for an array that nobody has looked at, fast.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Inputs that `accepts` accepts.
        n_jobs : int or None
            As for `reserve_threads`; small work stays on one thread.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs) or None
            The outputs; None if an input is not finite.
        """
        n_samples = X.shape[0]
        if n_samples > self._rows:
            out, is_finite = self._in_pieces(kernel_data(X, X.dtype), n_jobs, checks=True)
            return out if is_finite else None
        # One piece in one thread, with no more Python than needed.
        out = np.empty((n_samples, self._n_outputs), X.dtype)
        own_product = self._product_for(n_samples)
        buffer = self._buffer_for(n_samples, own_product)
        network = self._network or self._prepare()
        arguments = (
            *network, own_product, X.reshape(-1), *self._dense, _NO_SAMPLES, 0, n_samples,
            n_samples, True, buffer, out.reshape(-1),
        )  # fmt: skip
        # So few rows take no BLAS, and for so little work it takes one thread.
        if n_samples <= ROWS_WITHOUT_BLAS or n_samples * self._most_weights < _SHARED_BY_BLAS:
            is_finite = predict(*arguments)
        else:
            with self._blas_limit(n_samples, own_product):
                is_finite = predict(*arguments)
        return out if is_finite else None

    def __call__(self, data: Data, n_jobs: int | None = None) -> Floats:
        """Return the outputs for any number of samples.

        Parameters
        ----------
        data : Data
            The samples, validated.
        n_jobs : int or None
            As for `reserve_threads`; small work stays on one thread.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            Output activation applied.
        """
        return self._in_pieces(data, n_jobs, checks=False)[0]

    def _in_pieces(self, data: Data, n_jobs: int | None, *, checks: bool) -> tuple[Floats, bool]:
        """Return the outputs, and False if it checks the inputs and one is not finite."""
        n_samples = n_samples_of(data, self._n_features)
        out = np.empty((n_samples, self._n_outputs), self.params.dtype)
        rows = min(self._rows, max(n_samples, 1))
        own_product = self._product_for(rows)
        samples = sample_numbers(0, n_samples) if data.forward else _NO_SAMPLES
        useful = min(n_samples * self.layout.n_weights // _WORTH_A_THREAD, n_samples // rows)
        with self._blas_limit(rows, own_product), reserve_threads(n_jobs, useful) as n_threads:
            # Whole pieces for each thread: how many there are must not show in the last bits.
            n_pieces = -(-n_samples // rows)
            bounds = [
                min(n_pieces * part // n_threads * rows, n_samples) for part in range(n_threads + 1)
            ]
            are_finite = [True] * n_threads
            network = self._network or self._prepare()

            def work(thread: int) -> None:
                begin, end = bounds[thread], bounds[thread + 1]
                buffer = self._buffer_for(rows, own_product)
                are_finite[thread] = predict(
                    *network, own_product, data.X, data.indptr, data.indices, data.forward,
                    samples[begin:end], begin, end, rows, checks, buffer, out.reshape(-1),
                )  # fmt: skip

            with ThreadTeam(n_threads) as team:
                team.run(work)
        return out, all(are_finite)

    def _blas_limit(self, n_rows: int, own_product: int) -> contextlib.AbstractContextManager[None]:
        """Return what keeps BLAS to one thread, if it is used: more would show in the last bits."""
        if own_product and n_rows * self._most_weights < OWN_WORK:
            return contextlib.nullcontext()
        return single_threaded_blas()

    def _product_for(self, n_rows: int) -> int:
        """Return the address of `product` if so many rows at a time are worth it, else 0."""
        # The first condition is only there to be fast for one row.
        if n_rows < FEW_ROWS or not is_worth_own_products(
            min(n_rows, _WORTH_COMPILATION), self._most_weights
        ):
            return 0
        return self._own_product

    def _buffer_for(self, n_rows: int, own_product: int) -> Floats:
        """Return what `predict` works in."""
        n_values = n_rows * self._n_units
        if not own_product:
            return np.empty(n_values, self.params.dtype)
        return aligned_empty(self._n_room + n_values, self.params.dtype)

    def _prepare(self) -> tuple[Floats, Floats, Floats, int]:
        """Return what `predict` is told of the network; only when needed, since it may compile."""
        network = self.layout.for_kernels(self.params.dtype, trains=False)
        self._network = network.layers, network.slopes, self.params, network.forward_pass
        return self._network

    @cached_property
    def _own_product(self) -> int:
        return int(product.address(self.params.dtype))

    def accepts(self, X: Any) -> bool:
        """Return whether `outputs` can take X as it is.

        Parameters
        ----------
        X : object
            Anything.

        Returns
        -------
        bool
            Whether X is such an array.
        """
        return (
            type(X) is np.ndarray
            and X.dtype == self.params.dtype
            and X.ndim == 2
            and X.shape[1] == self._n_features
            and X.shape[0] > 0
            and X.flags.carray
        )
