"""Whole fits with default parameters on scikit-learn's small data sets, up to convergence."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from measures import LIBRARIES
from sklearn.preprocessing import scale

from fastmlp.datasets import load_dataset


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("name", ["digits", "breast_cancer", "diabetes"])
def bench_fit(benchmark: Any, name: str, solver: str, dtype: str, library: str) -> None:
    """Fit a new estimator to standardised data."""
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
