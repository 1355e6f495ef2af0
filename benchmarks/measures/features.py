"""What an epoch costs with one feature, against the same without it."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from workloads import WORKLOADS, make_task

from fastmlp import MLPClassifier, MLPRegressor

__all__ = ["FEATURES", "measure"]

FEATURES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "dropout": {"dropout": 0.1},
    "weight_decay": {"solver": "adamw", "weight_decay": 0.01},
    "schedule": {"learning_rate": "cosine"},
    "schedule and warm-up": {"learning_rate": "cosine", "warmup_steps": 0.1},
    "label_smoothing": {"label_smoothing": 0.1},
    "l1": {"l1": 1e-4},
    "max_grad_norm": {"max_grad_norm": 1.0},
    "normalization": {"normalization": "layer"},
    "all of them": {
        "dropout": 0.1, "solver": "adamw", "learning_rate": "cosine", "label_smoothing": 0.1,
        "l1": 1e-4, "max_grad_norm": 1.0, "normalization": "layer",
    },
}  # fmt: skip


def measure(is_quick: bool) -> dict[str, Any]:
    """Measure the ratio of fits with and without each feature, interleaved.

    Parameters
    ----------
    is_quick : bool
        Few rounds, as a trial.

    Returns
    -------
    dict
        Per workload, dtype and feature, the median over rounds of the ratio to a plain fit of the
        same round.
    """
    result: dict[str, Any] = {}
    for name in ("digits", "tabular"):
        for dtype in ("float32", "float64"):
            result[f"{name} {dtype}"] = _ratios(name, dtype, 3 if is_quick else 25)
    return result


def _ratios(name: str, dtype: str, n_rounds: int) -> dict[str, float]:
    workload = WORKLOADS[name]
    task = make_task(workload, dtype)
    cls = MLPRegressor if workload.loss == "squared" else MLPClassifier
    # A fit of some 50 ms.
    max_iter = {"digits": 60, "tabular": 8}[name]
    models = {}
    for feature, parameters in FEATURES.items():
        known = cls().get_params()
        suitable = {key: value for key, value in parameters.items() if key in known}
        if suitable or not parameters:
            arguments = {**workload.estimator_parameters(), "max_iter": max_iter, **suitable}
            models[feature] = cls(**arguments)
    times: dict[str, list[float]] = {feature: [] for feature in models}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model in models.values():  # compiles
            model.fit(task.X, task.y)
        for _ in range(n_rounds):
            for feature, model in models.items():
                started = time.perf_counter()
                model.fit(task.X, task.y)
                times[feature].append(time.perf_counter() - started)
    plain = np.array(times["nothing"])
    return {
        feature: float(np.median(np.array(seconds) / plain)) for feature, seconds in times.items()
    }
