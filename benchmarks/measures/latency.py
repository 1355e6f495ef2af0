"""Time of ``predict_proba`` and ``predict`` for a single row, and of the former for some rows."""

from __future__ import annotations

import time
import warnings
from importlib import import_module
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from workloads import WORKLOADS, make_task

from measures import LIBRARIES

__all__ = ["measure"]

# Which methods are timed, for how many rows.
METHODS = {1: ("predict_proba", "predict")} | dict.fromkeys((4, 32, 1000), ("predict_proba",))


def measure(is_quick: bool) -> list[dict[str, Any]]:
    """Call both libraries in turns, in blocks, on the network of the workload digits.

    Parameters
    ----------
    is_quick : bool
        Whether few calls will do.

    Returns
    -------
    list of dict
        Percentiles in µs for each library, method, number of rows and precision.
    """
    results = []
    for dtype in ("float32", "float64"):
        task = make_task(WORKLOADS["digits"], dtype)
        models = {name: _fit(module, task.X, task.y) for name, module in LIBRARIES.items()}
        for n_rows, methods in METHODS.items():
            n_blocks, n_calls = (3, 20) if is_quick else (40, 500 if n_rows == 1 else 50)
            inputs = [task.X[i : i + n_rows] for i in range(n_calls)]
            for method in methods:
                times: dict[str, list[int]] = {name: [] for name in models}
                for block in range(n_blocks + 1):
                    for name, model in models.items():
                        new = _time_calls(getattr(model, method), inputs)
                        if block:  # the first block warms up
                            times[name] += new
                results += [
                    {
                        "library": name,
                        "method": method,
                        "n_rows": n_rows,
                        "dtype": dtype,
                        "p50_us": float(np.percentile(t, 50)) / 1e3,
                        "p99_us": float(np.percentile(t, 99)) / 1e3,
                        "n_calls": len(t),
                    }
                    for name, t in times.items()
                ]
    return results


def _fit(module: str, X: Any, y: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return import_module(module).MLPClassifier(max_iter=10, random_state=0).fit(X, y)


def _time_calls(function: Any, inputs: list[Any]) -> list[int]:
    times = []
    for X in inputs:
        start = time.perf_counter_ns()
        function(X)
        times.append(time.perf_counter_ns() - start)
    return times
