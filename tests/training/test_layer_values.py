"""The activations of all layers in one pass, against those of one layer after the other."""

import numpy as np
import pytest
from scipy import sparse

from fastmlp.training.layer_values import layer_values
from fastmlp.training.network import NetworkLayout
from tests import reference

TOLERANCE = {np.float32: {"rtol": 1e-4, "atol": 1e-5}, np.float64: {"rtol": 1e-9, "atol": 1e-12}}


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("n_samples", [1, 300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("units", "activations"),
    [
        ((5, 1), ("identity",)),
        ((5, 3, 4), ("prelu", "softmax")),
        ((40, 70, 9, 30), ("tanh", "relu", "logistic")),
    ],
)
def test_values_are_those_of_the_twin(units, activations, dtype, n_samples, form):
    slopes = tuple(0.25 if name == "prelu" else None for name in activations)
    layout = NetworkLayout(units, activations, slopes, "squared_error")
    params = layout.initial_params(np.random.RandomState(0), dtype)
    X = np.random.RandomState(1).normal(size=(n_samples, units[0])).astype(dtype)
    before = X.copy()
    values = layer_values(layout, params, form(X))
    np.testing.assert_array_equal(X, before)
    assert [array.shape for array in values] == [(n_samples, width) for width in units[1:]]
    expected = X.astype(float)
    coefs, intercepts = layout.unpack(params)
    for weights, biases, name, array in zip(coefs, intercepts, activations, values, strict=True):
        expected = reference.activate(name, expected @ weights + biases)
        assert array.dtype == dtype
        np.testing.assert_allclose(array, expected, **TOLERANCE[dtype])
