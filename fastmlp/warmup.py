"""Compile everything ahead of time, so that no fit has to wait for it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike

from fastmlp._linking import LINKED_FUNCTIONS
from fastmlp.estimators.regressor import MLPRegressor
from fastmlp.kernels.epoch import run_batches

__all__ = ["cache_directory", "warm_up"]


def warm_up() -> Iterator[tuple[str, float]]:
    """Compile all kernels in both precisions, or load them where they are on disk already.

    Yields
    ------
    what : str
        What was made ready.
    seconds : float
        How long it took.

    Notes
    -----
    `cache_directory` tells where it is kept.
    """
    for dtype in (np.float64, np.float32):
        name = np.dtype(dtype).name
        for batch_size, what in ((2, "batches"), (1, "single samples")):
            started = time.perf_counter()
            model = _fitted(dtype, batch_size)
            yield f"training by {what}, {name}", time.perf_counter() - started
        started = time.perf_counter()
        model.predict(np.zeros((1, 2), dtype))
        yield f"prediction, {name}", time.perf_counter() - started
        started = time.perf_counter()
        for function in LINKED_FUNCTIONS:
            function.address(dtype)
        what = "activations, losses, optimizers and special layers"
        yield f"{what}, {name}", time.perf_counter() - started


def _fitted(dtype: DTypeLike, batch_size: int) -> MLPRegressor:
    X = np.array([[0, 1], [1, 0], [1, 1], [0, 0]], dtype)
    model = MLPRegressor(
        hidden_layer_sizes=(2,), solver="sgd", momentum=0, batch_size=batch_size, random_state=0
    )
    return model.partial_fit(X, X[:, 0])


def cache_directory() -> str:
    """Return the directory that holds compiled code.

    Returns
    -------
    str
        Its path, whether or not it could be written.
    """
    return str(run_batches.stats.cache_path)
