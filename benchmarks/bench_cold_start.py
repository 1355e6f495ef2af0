"""A new process until its first model is fitted to iris; Python's own start is included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measures.cold_start import IRIS_EPOCHS, first_fit
from sklearn.datasets import load_iris


@pytest.mark.parametrize("situation", ["sklearn", "full cache", "empty cache"])
def bench_cold_start(benchmark: Any, situation: str, tmp_path: Path) -> None:
    """Import, load the data, and fit with scikit-learn or fastmlp."""
    X, y = load_iris(return_X_y=True)
    data = tmp_path / "data.npz"
    np.savez(data, X=X, y=y)
    benchmark.group = "cold start"
    # The round that does not count fills the cache.
    sample = benchmark.pedantic(
        first_fit, args=(tmp_path, situation, data, IRIS_EPOCHS), rounds=3, warmup_rounds=1
    )
    benchmark.extra_info |= sample
