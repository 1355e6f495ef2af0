"""Whole fits on scikit-learn's small data sets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from measures import LIBRARIES
from sklearn.preprocessing import scale

from fastmlp import MLPClassifier
from fastmlp.datasets import load_dataset


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("name", ["digits", "breast_cancer", "diabetes"])
def bench_fit(benchmark: Any, name: str, solver: str, dtype: str, library: str) -> None:
    """Fit a new estimator with default parameters to standardised data, up to convergence."""
    data = load_dataset(name)
    X, y = scale(data.X).astype(dtype), data.y
    kind = "MLPRegressor" if data.task == "regression" else "MLPClassifier"
    if data.task == "regression":
        y = scale(y).astype(dtype)
    estimator = getattr(import_module(LIBRARIES[library]), kind)
    benchmark.group = f"fit {name}, {solver}, {dtype}"
    model = benchmark.pedantic(
        lambda: estimator(solver=solver, random_state=0).fit(X, y), rounds=5, warmup_rounds=1
    )
    benchmark.extra_info |= {"n_iter": model.n_iter_, "score": model.score(X, y)}


@pytest.fixture(params=[0, 1, 2])
def n_busy_processes(request: pytest.FixtureRequest) -> Iterator[int]:
    """Keep some processors busy; return how many."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(request.param)]  # noqa: S603
    yield request.param
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize("n_jobs", [1, -1])
def bench_fit_beside_others(benchmark: Any, n_jobs: int, n_busy_processes: int) -> None:
    """Fit 300 epochs of the digits with one thread or all, while other processes are at work."""
    data = load_dataset("digits")
    X, y = data.X.astype("float32"), data.y
    model = MLPClassifier(max_iter=300, tol=0, n_iter_no_change=300, random_state=0, n_jobs=n_jobs)
    benchmark.group = f"fit beside {n_busy_processes} busy processes"
    benchmark.pedantic(lambda: model.fit(X, y), rounds=5, warmup_rounds=1)
