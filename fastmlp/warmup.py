"""Compile everything ahead of time, so that no fit has to wait for it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike

from fastmlp._linking import LINKED_FUNCTIONS
from fastmlp.estimators.regressor import MLPRegressor
from fastmlp.kernels.epoch import predict
from fastmlp.training.data import sample_numbers
from fastmlp.training.shuffling import Shuffle

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
    started = time.perf_counter()
    Shuffle(np.random.RandomState(0))(sample_numbers(0, 10**4))
    yield "the order of the samples", time.perf_counter() - started
    for dtype in (np.float64, np.float32):
        name = np.dtype(dtype).name
        for what, hidden, batch_size in _KINDS_OF_TRAINING:
            started = time.perf_counter()
            model = _fitted(dtype, hidden, batch_size)
            yield f"training by {what}, {name}", time.perf_counter() - started
        started = time.perf_counter()
        model.predict(np.zeros((1, 2), dtype))
        yield f"prediction, {name}", time.perf_counter() - started
        started = time.perf_counter()
        for function in LINKED_FUNCTIONS:
            function.address(dtype)
        what = "activations, losses, optimizers and special layers"
        yield f"{what}, {name}", time.perf_counter() - started


# Each takes another entry point: see `fastmlp.training.plan`.
_KINDS_OF_TRAINING = (
    ("batches through wide layers", 100, 2),
    ("batches through narrow layers", 2, 2),
    ("single samples", 2, 1),
)


def _fitted(dtype: DTypeLike, hidden: int, batch_size: int) -> MLPRegressor:
    X = np.array([[0, 1], [1, 0], [1, 1], [0, 0]], dtype)
    model = MLPRegressor(
        hidden_layer_sizes=hidden, solver="sgd", momentum=0, batch_size=batch_size, random_state=0
    )
    return model.partial_fit(X, X[:, 0])


def cache_directory() -> str:
    """Return the directory that holds compiled code.

    Returns
    -------
    str
        Its path, whether or not it could be written.
    """
    return str(predict.stats.cache_path)
