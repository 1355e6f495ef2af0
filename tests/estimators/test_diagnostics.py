"""Named warnings for fits that end without an error but learn little."""

import math
import pickle
import tracemalloc
import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.preprocessing import StandardScaler

import fastmlp
from fastmlp import CustomActivation, MLPClassifier, MLPRegressor, TrainingWarning
from fastmlp.estimators import _diagnostics
from fastmlp.estimators._diagnostics import (
    ConstantPredictionWarning,
    DeadUnitsWarning,
    SaturationWarning,
)
from tests.estimators.problems import TASKS, make_estimator, make_problem

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def training_warnings(model, X, y, **options):
    """Fit, and return the training warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y, **options)
    assert all(warning.filename == __file__ for warning in caught)
    return [warning for warning in caught if issubclass(warning.category, TrainingWarning)]


def test_names():
    assert fastmlp.TrainingWarning is TrainingWarning
    assert issubclass(TrainingWarning, UserWarning)
    for category in (SaturationWarning, DeadUnitsWarning, ConstantPredictionWarning):
        assert issubclass(category, TrainingWarning)
        assert pickle.loads(pickle.dumps(category)) is category


# --------------------------------------------------------------------------------------
# What is warned of
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("activation", ["tanh", "logistic"])
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_unscaled_features_that_saturate_the_first_layer(activation, solver, make):
    X, y = load_wine(return_X_y=True)
    model = MLPClassifier(activation=activation, solver=solver, max_iter=30, random_state=0)
    found = training_warnings(model, make(X), y)
    assert SaturationWarning in {warning.category for warning in found}
    (message,) = [str(one.message) for one in found if one.category is SaturationWarning]
    assert activation in message
    assert "feature 12 is" in message  # proline, of some hundreds
    assert "StandardScaler" in message
    assert training_warnings(model, StandardScaler().fit_transform(X), y) == []


def test_saturation_without_large_features_is_what_was_learned():
    X, y, _ = make_problem("regression")
    weights = [np.full((5, 8), 50.0), np.zeros((8, 1))]
    model = MLPRegressor(
        activation="tanh", hidden_layer_sizes=(8,), max_iter=6, random_state=0,
        weight_init=(weights, [np.zeros(8), np.zeros(1)]),
    )  # fmt: skip
    assert training_warnings(model, X, y) == []


def tanh(z):
    return 1.7159 * math.tanh(2.0 / 3.0 * z)


def tanh_derivative(z):
    return 1.7159 * 2.0 / 3.0 * (1.0 - math.tanh(2.0 / 3.0 * z) ** 2)


def test_a_function_called_tanh_has_no_known_limits():
    X, y = load_wine(return_X_y=True)
    model = MLPClassifier(activation="tanh", max_iter=30, random_state=0)
    assert [one.category for one in training_warnings(model, X, y)] != []
    model.set_params(activation=CustomActivation(tanh, tanh_derivative))
    found = training_warnings(model, X, y)
    assert SaturationWarning not in {warning.category for warning in found}


def with_dead_units(n_dead, layer, **options):
    """A model, some of whose units are dead from the start."""
    sizes = [5, 6, 6, 1]
    rng = np.random.RandomState(0)
    coefs = [rng.normal(size=shape) for shape in pairwise(sizes)]
    intercepts = [np.zeros(size) for size in sizes[1:]]
    intercepts[layer][:n_dead] = -1e3
    return MLPRegressor(
        hidden_layer_sizes=(6, 6), weight_init=(coefs, intercepts), max_iter=6, **options
    )


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_dead_units(layer, dtype):
    X, y, _ = make_problem("regression", dtype=dtype)
    (warning,) = training_warnings(with_dead_units(4, layer), X, y)
    assert warning.category is DeadUnitsWarning
    message = str(warning.message)
    assert message.startswith(f"4 of the 6 units of hidden layer {layer} are zero")
    assert "learning_rate_init" in message
    assert "leaky_relu" in message
    assert training_warnings(with_dead_units(3, layer), X, y) == []
    assert training_warnings(with_dead_units(4, layer, activation="elu"), X, y) == []


def test_all_units_dead_is_a_constant_prediction_too():
    X, y, _ = make_problem("regression")
    found = training_warnings(with_dead_units(6, 0), X, y)
    assert {one.category for one in found} == {DeadUnitsWarning, ConstantPredictionWarning}


@pytest.mark.parametrize("task", TASKS)
def test_constant_predictions(task):
    X, y, _ = make_problem(task)
    model = make_estimator(task, solver="lbfgs", alpha=1e6, random_state=0)
    (warning,) = training_warnings(model, X, y)
    assert warning.category is ConstantPredictionWarning
    assert "alpha" in str(warning.message)
    if task == "regression":
        assert training_warnings(model, X, np.full(len(y), 3.0)) == []


@pytest.mark.parametrize("piece_bytes", [0, 10**9])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_looks_at_rows_from_all_over_the_training_samples(sign, piece_bytes, monkeypatch):
    monkeypatch.setattr(_diagnostics, "_PIECE_BYTES", piece_bytes)
    # One half of the samples leaves all units at zero; the other does not.
    X = sign * np.repeat([[-1.0], [1.0]], 2000, axis=0)
    weights = [np.ones((1, 6)), np.ones((6, 1))], [np.zeros(6), np.zeros(1)]
    model = MLPRegressor(
        hidden_layer_sizes=(6,), weight_init=weights, max_iter=6, learning_rate_init=1e-9
    )
    assert training_warnings(model, X, X[:, 0]) == []
    (warning,) = training_warnings(model, X - 2, X[:, 0] > 0, sample_weight=np.ones(4000))[:1]
    assert "each of the 256 training samples" in str(warning.message)


def test_a_look_keeps_no_layer_but_the_outputs():
    X = np.random.default_rng(0).normal(size=(256, 2))
    model = MLPRegressor(hidden_layer_sizes=(2000,), max_iter=1, n_jobs=1, random_state=0)
    model.fit(X, X[:, 0])
    tracemalloc.start()
    try:
        _diagnostics.look_at(model._layout, model._params, X, X[:, :1])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 256 * 2000 * 8 / 2


# --------------------------------------------------------------------------------------
# What is not
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "prelu"])
@pytest.mark.parametrize("load", [load_digits, load_iris])
def test_nothing_is_said_of_ordinary_fits(load, activation):
    X, y = load(return_X_y=True)
    for data in (X / X.max(), StandardScaler().fit_transform(X)):
        model = MLPClassifier(activation=activation, max_iter=30, random_state=0)
        assert training_warnings(model, data, y) == []


@pytest.mark.parametrize("n_samples", [1, 9])
def test_nothing_is_said_of_few_samples(n_samples):
    X, y, _ = make_problem("regression")
    assert training_warnings(with_dead_units(6, 0), X[:n_samples], y[:n_samples]) == []


def test_nothing_is_said_of_few_epochs():
    X, y, _ = make_problem("regression")
    model = with_dead_units(6, 0).set_params(max_iter=4)
    assert training_warnings(model, X, y) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        model.partial_fit(X, y)


def test_model_is_whole_where_the_warning_is_an_error():
    X, y, _ = make_problem("regression")
    model = with_dead_units(6, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        with pytest.raises(DeadUnitsWarning):
            model.fit(X, y)
    assert model.n_iter_ == 6
    assert np.isfinite(model.predict(X)).all()
