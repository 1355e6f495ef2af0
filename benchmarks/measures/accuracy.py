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

__all__ = ["measure"]

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


def _train(library: str, seed: str, target: str) -> dict[str, Any]:
    from workloads import load_fashion_images

    task = make_task(WORKLOADS["fashion-all"], "float32", int(seed))
    images, labels, source = load_fashion_images()
    X_test, y_test = images[60_000:].astype(np.float32) / np.float32(255), labels[60_000:]
    make = _Torch if library == "torch" else _Estimator
    make(library, task, int(seed)).train()  # compiles, loads and warms up
    network = make(library, task, int(seed))
    seconds, accuracy, epochs = 0.0, 0.0, 0
    while accuracy < float(target) and epochs < MAX_EPOCHS:
        start = time.perf_counter()
        network.train()
        seconds += time.perf_counter() - start
        epochs += 1
        accuracy = float(np.mean(network.predict(X_test) == y_test))
    return {"epochs": epochs, "seconds": seconds, "accuracy": accuracy, "data": source}


class _Estimator:
    """One epoch at a time by ``partial_fit``."""

    def __init__(self, library: str, task: Task, seed: int) -> None:
        self._task = task
        self._model = import_module(LIBRARIES[library]).MLPClassifier(
            hidden_layer_sizes=task.workload.layer_sizes[1:-1],
            alpha=ALPHA,
            batch_size=task.workload.batch_size,
            learning_rate_init=LEARNING_RATE,
            # With a number each epoch would see the samples in the same order.
            random_state=np.random.RandomState(seed),
        )

    def train(self) -> None:
        self._model.partial_fit(self._task.X, self._task.y, classes=range(10))

    def predict(self, X: Any) -> Any:
        return self._model.predict(X)


class _Torch:
    """The same with `peers.torch_eager`."""

    def __init__(self, library: str, task: Task, seed: int) -> None:
        from peers import PEERS

        self._trainer: Any = PEERS[library].make_trainer(
            task, len(usable_processors()), "eager-fused"
        )

    def train(self) -> None:
        self._trainer.run(1)

    def predict(self, X: Any) -> Any:
        return self._trainer.predict(X)


if __name__ == "__main__":
    print(json.dumps(_train(*sys.argv[1:])))
