"""Rows that are copied together."""

import numpy as np
import pytest

from tests.kernels import compiled
from tests.kernels.compiled import FLOATS


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_features", [1, 5, 100])
@pytest.mark.parametrize("n_rows", [0, 1, 9, 40])
def test_gather_rows(n_rows, n_features, dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, n_features)).astype(dtype)
    samples = rng.integers(len(X), size=n_rows, dtype=np.int32)
    for first, stop in [(0, n_features), (n_features // 2, n_features)]:
        out = np.full(n_rows * (stop - first) + 1, 7, dtype)
        compiled.gather_rows(X.ravel(), n_features, samples, first, stop - first, out[:-1])
        np.testing.assert_array_equal(out[:-1], X[samples, first:stop].ravel())
        assert out[-1] == 7
