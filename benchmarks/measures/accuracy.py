"""Time until a network reaches 88 % of Fashion-MNIST's test images, all 60,000 in training."""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from machine import usable_processors
from workloads import ALPHA, LEARNING_RATE, WORKLOADS, Task, make_task

from measures import LIBRARIES, in_turns

__all__ = ["TARGET", "measure", "train"]

TARGET = 0.88
MAX_EPOCHS = 40


def measure(is_quick: bool) -> list[dict[str, Any]]:
    """Train with each library in a process of its own, from several seeds, in turns.

    Parameters
    ----------
    is_quick : bool
        Whether to stop at 80 % of one seed.

    Returns
    -------
    list of dict
        Per library and seed: epochs, seconds of training (compilation, warm-up and testing left
        out) and the accuracy reached.
    """
    libraries = [*LIBRARIES, *(["torch"] if find_spec("torch") else [])]
    target = 0.80 if is_quick else TARGET
    return in_turns("accuracy.py", libraries, 1 if is_quick else 5, target=target)


def train(
    library: str,
    seed: int,
    target: float,
    batch_size: int = WORKLOADS["fashion-all"].batch_size,
    rate: float = LEARNING_RATE,
) -> dict[str, Any]:
    """Train epoch by epoch until so many of the test images are recognised.

    Parameters
    ----------
    library : {"fastmlp", "sklearn", "torch"}
        By whom.
    seed : int
        Of all random numbers.
    target : float
        Share of the test images.
    batch_size, rate : int, float
        Samples per step and learning rate, but for PyTorch, which has those of the workload.

    Returns
    -------
    dict
        Epochs; seconds, without compilation, warm-up and testing; accuracy; source of the data.
    """
    from workloads import load_fashion_images

    task = make_task(WORKLOADS["fashion-all"], "float32", seed)
    images, labels, source = load_fashion_images()
    X_test, y_test = images[60_000:].astype(np.float32) / np.float32(255), labels[60_000:]

    def make() -> _Torch | _Estimator:
        if library == "torch":
            return _Torch(library, task)
        return _Estimator(library, task, seed, batch_size, rate)

    make().train()  # compiles, loads and warms up
    network = make()
    seconds, accuracy, epochs = 0.0, 0.0, 0
    while accuracy < target and epochs < MAX_EPOCHS:
        start = time.perf_counter()
        network.train()
        seconds += time.perf_counter() - start
        epochs += 1
        accuracy = float(np.mean(network.predict(X_test) == y_test))
    return {"epochs": epochs, "seconds": seconds, "accuracy": accuracy, "data": source}


class _Estimator:
    """One epoch at a time by ``partial_fit``."""

    def __init__(self, library: str, task: Task, seed: int, batch_size: int, rate: float) -> None:
        self._task = task
        self._model = import_module(LIBRARIES[library]).MLPClassifier(
            hidden_layer_sizes=task.workload.layer_sizes[1:-1],
            alpha=ALPHA,
            batch_size=batch_size,
            learning_rate_init=rate,
            # With a number each epoch would see the samples in the same order.
            random_state=np.random.RandomState(seed),
        )

    def train(self) -> None:
        self._model.partial_fit(self._task.X, self._task.y, classes=range(10))

    def predict(self, X: Any) -> Any:
        return self._model.predict(X)


class _Torch:
    """The same with `peers.torch_eager`."""

    def __init__(self, library: str, task: Task) -> None:
        from peers import PEERS

        self._trainer: Any = PEERS[library].make_trainer(
            task, len(usable_processors()), "eager-fused"
        )

    def train(self) -> None:
        self._trainer.run(1)

    def predict(self, X: Any) -> Any:
        return self._trainer.predict(X)


if __name__ == "__main__":
    name, number, share = sys.argv[1:]
    print(json.dumps(train(name, int(number), float(share))))
