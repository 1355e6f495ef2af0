"""Networks as compiled functions of their own."""

import numba
import numpy as np
import pytest

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.training.data import kernel_data
from fastmlp.training.predictor import Predictor
from fastmlp.training.standalone import standalone_forward
from tests.kernels.compiled import FLOATS, IS_COMPILED
from tests.kernels.networks import make_problem

pytestmark = pytest.mark.skipif(not IS_COMPILED, reason="about compiled code")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("hidden", [(), (5,), (4, 6, 3)])
def test_same_outputs_from_python_and_from_compiled_code(hidden, dtype):
    problem = make_problem(hidden, "tanh", "softmax_cross_entropy", dtype=dtype)
    forward = standalone_forward(problem.layout, problem.params)
    expected = Predictor(problem.layout, problem.params)(kernel_data(problem.X, dtype), n_jobs=1)

    @numba.njit
    def one_by_one(X, out):
        for i in range(X.shape[0]):
            out[i] = forward(X[i : i + 1])[0]

    out = np.empty_like(expected)
    one_by_one(problem.X, out)
    tolerance = 20 * float(np.finfo(dtype).eps)
    for got in (forward(problem.X), out):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", [name for name, row in ACTIVATIONS.items() if row.is_hidden])
def test_every_activation(name):
    problem = make_problem((4,), name)
    forward = standalone_forward(problem.layout, problem.params)
    data = kernel_data(problem.X, np.float64)
    expected = Predictor(problem.layout, problem.params)(data, n_jobs=1)
    np.testing.assert_allclose(forward(problem.X), expected, rtol=1e-13, atol=1e-14)


def test_parameters_are_those_of_its_making():
    X = np.random.RandomState(0).normal(size=(50, 3))
    model = MLPRegressor(random_state=0, max_iter=2, solver="sgd").partial_fit(X, X[:, 0])
    forward, before = model.to_numba(), model.predict(X)
    model.partial_fit(X, X[:, 0])
    np.testing.assert_allclose(forward(X)[:, 0], before, rtol=1e-12, atol=1e-14)
    assert np.abs(model.predict(X) - before).max() > 1e-6


def test_classifier_gives_probabilities():
    X = np.random.RandomState(0).normal(size=(50, 3))
    for y in (X[:, 0] > 0, np.arange(50) % 3):
        model = MLPClassifier(random_state=0, solver="sgd").partial_fit(X, y, classes=np.unique(y))
        expected = model.predict_proba(X)
        got = model.to_numba()(X)
        np.testing.assert_allclose(got, expected[:, -got.shape[1] :], rtol=1e-12, atol=1e-14)


def test_wrong_number_of_features():
    problem = make_problem()
    with pytest.raises(ValueError, match="another number of features"):
        standalone_forward(problem.layout, problem.params)(problem.X[:, :2].copy())
