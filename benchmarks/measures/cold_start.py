"""Cold start: what importing and the first fit cost, and from which size of data it pays.

Times are of new processes, from the first import to the end of the first fit; starting Python is
not in them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_iris, make_classification

from measures import LIBRARIES, run_script

__all__ = ["IRIS_EPOCHS", "first_fit", "measure"]

IRIS_EPOCHS = 200
CROSSOVER_EPOCHS = 50
CROSSOVER_FEATURES = 20


def measure(is_quick: bool) -> dict[str, Any]:
    """Measure the first fit on iris, and at which number of rows fastmlp overtakes.

    Parameters
    ----------
    is_quick : bool
        Whether one sample of each will do.

    Returns
    -------
    dict
        "iris": samples in seconds per situation; "crossover": times for each number of rows.
    """
    n_rounds = 1 if is_quick else 7
    sizes = [500, 4_000] if is_quick else [250 * 2**k for k in range(9)]
    with tempfile.TemporaryDirectory(prefix="fastmlp-benchmark-") as name:
        folder = Path(name)
        data = folder / "data.npz"
        X, y = load_iris(return_X_y=True)
        np.savez(data, X=X, y=y)
        first_fit(folder, "full cache", data, 1)  # fills the cache
        iris: dict[str, list[dict[str, float]]] = {}
        for _ in range(n_rounds):
            for situation in ("sklearn", "full cache", "empty cache"):
                sample = first_fit(folder, situation, data, IRIS_EPOCHS)
                iris.setdefault(situation, []).append(sample)

        crossover = []
        for n_samples in sizes:
            X, y = make_classification(n_samples, CROSSOVER_FEATURES, random_state=0)
            np.savez(data, X=X, y=y)
            seconds: dict[str, list[float]] = {}
            for _ in range(1 if is_quick else 3):
                for situation in ("sklearn", "full cache", "empty cache"):
                    sample = first_fit(folder, situation, data, CROSSOVER_EPOCHS)
                    seconds.setdefault(situation, []).append(sum(sample.values()))
            medians = {key: float(np.median(values)) for key, values in seconds.items()}
            crossover.append({"n_samples": n_samples, **medians})
            if medians["empty cache"] < medians["sklearn"]:
                break
    return {
        "iris": iris,
        "crossover": crossover,
        "crossover_epochs": CROSSOVER_EPOCHS,
        "crossover_features": CROSSOVER_FEATURES,
    }


def first_fit(folder: Path, situation: str, data: Path, max_iter: int) -> dict[str, float]:
    """Run ``first_fit.py`` in a new process.

    Parameters
    ----------
    folder : Path
        Where compiled code is kept.
    situation : {"sklearn", "full cache", "empty cache"}
        scikit-learn, or fastmlp with what earlier calls compiled, or fastmlp with nothing.
    data : Path
        File with X and y.
    max_iter : int
        Epochs of the fit.

    Returns
    -------
    dict
        Seconds of "import" and of "fit".
    """
    if situation == "sklearn":
        return run_script("first_fit.py", LIBRARIES["sklearn"], data, max_iter)
    is_full = situation == "full cache"
    cache = folder / "cache" if is_full else Path(tempfile.mkdtemp(dir=folder))
    return run_script(
        "first_fit.py", LIBRARIES["fastmlp"], data, max_iter, FASTMLP_CACHE_DIR=str(cache)
    )
