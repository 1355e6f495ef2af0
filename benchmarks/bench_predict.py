"""Prediction: one row, a few and many."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from measures import LIBRARIES
from sklearn.neural_network import MLPClassifier
from workloads import WORKLOADS, Task, make_task


@cache
def _models(name: str, dtype: str) -> tuple[Task, dict[str, MLPClassifier]]:
    task = make_task(WORKLOADS[name], dtype)
    X, y = task.X[:2_000], task.y[:2_000]
    models = {
        library: import_module(module)
        .MLPClassifier(task.workload.layer_sizes[1:-1], max_iter=3, random_state=0)
        .fit(X, y)
        for library, module in LIBRARIES.items()
    }
    return task, models


@pytest.mark.parametrize("n_rows", [1, 4, 1_000, 10_000])
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize("name", ["digits", "fashion-deep"])
def bench_predict(
    benchmark: Any, name: str, method: str, n_rows: int, dtype: str, library: str
) -> None:
    """Call a method of a fitted classifier on rows of its data, repeated where they are too few."""
    task, models = _models(name, dtype)
    X = np.resize(task.X, (n_rows, task.X.shape[1]))
    probabilities = {key: model.predict_proba(X) for key, model in models.items()}
    np.testing.assert_allclose(*probabilities.values(), atol=1e-2 if dtype == "float32" else 1e-7)
    benchmark.group = f"{method} {name}, {n_rows} rows, {dtype}"
    benchmark(getattr(models[library], method), X)
