"""A grid search of 64 fits in two processes, on the digits."""

from __future__ import annotations

import time
import warnings
from importlib import import_module
from typing import Any

import numpy as np
from sklearn.model_selection import GridSearchCV
from workloads import WORKLOADS, make_task

from measures import LIBRARIES

__all__ = ["measure"]

GRID = {
    "hidden_layer_sizes": [(50,), (100,), (50, 50), (100, 50)],
    "alpha": [1e-5, 1e-4, 1e-3, 1e-2],
}
N_FOLDS = 4
EPOCHS = 30


def measure(is_quick: bool) -> dict[str, Any]:
    """Let both libraries search in turns.

    Parameters
    ----------
    is_quick : bool
        Whether a smaller grid, once, will do.

    Returns
    -------
    dict
        Number of fits, seconds of each search, and the largest difference between the mean
        scores. The very first search starts the processes, and the first of each library loads
        it there.
    """
    task = make_task(WORKLOADS["digits"], "float64")
    grid = {key: values[: 1 if is_quick else None] for key, values in GRID.items()}
    seconds: dict[str, list[float]] = {name: [] for name in LIBRARIES}
    scores = {}
    for _ in range(2 if is_quick else 6):
        for name, module in LIBRARIES.items():
            # Warnings of other processes are not reached by filters of this one.
            model = import_module(module).MLPClassifier(
                max_iter=EPOCHS, random_state=0, tol=0.0, n_iter_no_change=EPOCHS
            )
            search = GridSearchCV(model, grid, cv=N_FOLDS, n_jobs=2, refit=False)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                start = time.perf_counter()
                search.fit(task.X, task.y)
                seconds[name].append(time.perf_counter() - start)
            scores[name] = search.cv_results_["mean_test_score"]
    ours, theirs = scores.values()
    return {
        "n_fits": N_FOLDS * len(ours),
        "seconds": seconds,
        "score_difference": float(np.max(np.abs(ours - theirs))),
    }
