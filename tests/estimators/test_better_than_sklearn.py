"""Where scikit-learn is plainly wrong, fastmlp does the right thing.

These are the rows of the README's table "Differs from scikit-learn".
"""

import numpy as np
import pytest
from sklearn import neural_network

from fastmlp import MLPClassifier, MLPRegressor
from tests.estimators.problems import TASKS, make_estimator, make_problem
from tests.estimators.test_parity import assert_same_weights, fit_recording_warnings

DIVERGENCE = "Solver produced non-finite parameter weights"


@pytest.mark.parametrize("labels", [[3, 3, 3, 3], ["only", "only", "only", "only"]])
def test_single_class_has_one_column_of_ones(labels):
    X = np.arange(8.0).reshape(4, 2)
    classifier = MLPClassifier(tol=10, random_state=0).fit(X, labels)
    assert list(classifier.classes_) == labels[:1]
    np.testing.assert_array_equal(classifier.predict_proba(X), np.ones((4, 1)))
    np.testing.assert_array_equal(classifier.predict_log_proba(X), np.zeros((4, 1)))
    np.testing.assert_array_equal(classifier.predict(X), labels)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_warm_start_does_not_overwrite_the_best_weights(task):
    X, y, _ = make_problem(task, n_samples=200)
    estimator = make_estimator(
        task,
        learning_rate_init=0.02,
        max_iter=20,
        early_stopping=True,
        warm_start=True,
        random_state=0,
    )
    fit_recording_warnings(estimator, X, y)
    best_score = estimator.best_validation_score_
    best_weights = [array.copy() for array in [*estimator.coefs_, *estimator.intercepts_]]

    # Training on at an absurd rate cannot better the score: the best weights must come back.
    estimator.set_params(learning_rate_init=30.0, max_iter=3)
    fit_recording_warnings(estimator, X, y)
    assert estimator.best_validation_score_ == best_score
    assert max(estimator.validation_scores_[-3:]) <= best_score
    for array, best in zip([*estimator.coefs_, *estimator.intercepts_], best_weights, strict=True):
        np.testing.assert_array_equal(array, best)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_divergence_is_an_error_also_under_early_stopping(early_stopping, solver, dtype):
    X, y, _ = make_problem("regression", dtype=dtype)
    regressor = MLPRegressor(
        activation="identity",
        solver=solver,
        learning_rate_init=1e300 if solver == "adam" else 1e3,
        early_stopping=early_stopping,
        random_state=0,
    )
    with pytest.raises(ValueError, match=DIVERGENCE):
        regressor.fit(X, y)
    # It stops where it diverges; scikit-learn runs on to max_iter.
    assert regressor.n_iter_ < regressor.max_iter
    # The last finite weights are kept, so that one can look at them.
    for array in [*regressor.coefs_, *regressor.intercepts_]:
        assert np.isfinite(array).all()


def test_lbfgs_with_a_loss_that_is_not_finite_is_an_error():
    X, y, _ = make_problem("regression")
    with pytest.raises(ValueError, match=DIVERGENCE):
        MLPRegressor(solver="lbfgs", random_state=0).fit(X, 1e200 * y)


@pytest.mark.parametrize("new_sizes", [(5,), (4, 4), ()])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_warm_start_with_other_layers_is_an_error(solver, new_sizes):
    X, y, _ = make_problem("regression")
    regressor = MLPRegressor(
        hidden_layer_sizes=(4,), solver=solver, max_iter=2, warm_start=True, random_state=0
    ).fit(X, y)
    regressor.set_params(hidden_layer_sizes=new_sizes)
    with pytest.raises(ValueError, match=r"warm_start.*layer.sizes"):
        regressor.fit(X, y)
    # Without warm_start, or with the sizes as they were, all is well.
    regressor.set_params(hidden_layer_sizes=4).fit(X, y)
    regressor.set_params(hidden_layer_sizes=new_sizes, warm_start=False).fit(X, y)
    assert len(regressor.coefs_) == len(new_sizes) + 1


def test_partial_fit_with_other_layers_is_an_error():
    X, y, _ = make_problem("regression")
    regressor = MLPRegressor(hidden_layer_sizes=(4,)).partial_fit(X, y)
    regressor.set_params(hidden_layer_sizes=(5,))
    with pytest.raises(ValueError, match=r"partial_fit.*layer.sizes"):
        regressor.partial_fit(X, y)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_negative_sample_weights_are_an_error(method):
    X, y, sample_weight = make_problem("regression")
    sample_weight[7] = -0.1
    with pytest.raises(ValueError, match=r"Negative values in data passed to `sample_weight`"):
        getattr(MLPRegressor(), method)(X, y, sample_weight=sample_weight)


@pytest.mark.parametrize("sizes", [(10.5,), 10.5, [4, 3.0]])
def test_layer_of_half_a_unit_is_an_error_that_names_the_parameter(sizes):
    X, y, _ = make_problem("regression")
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        MLPRegressor(hidden_layer_sizes=sizes).fit(X, y)


@pytest.mark.parametrize(
    "arguments",
    [
        {"solver": "sgd", "momentum": 0},
        {"solver": "sgd", "nesterovs_momentum": False},
        {"solver": "sgd"},
        {"solver": "adam"},
    ],
)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_batch_of_zero_weight_is_skipped(task, arguments):
    X, y, sample_weight = make_problem(task, n_samples=40)
    arguments = {
        **arguments,
        "hidden_layer_sizes": (6,),
        "batch_size": 10,
        "shuffle": False,
        "max_iter": 4,
        "alpha": 0.1,
        "random_state": 0,
    }
    # scikit-learn divides by zero here. Skipping a batch is as if its rows were not there.
    sample_weight[10:20] = 0
    ours = make_estimator(task, **arguments).fit(X, y, sample_weight)
    present = sample_weight > 0
    theirs = make_estimator(task, neural_network, **arguments).fit(
        X[present], y[present], sample_weight[present]
    )
    assert_same_weights(ours, theirs, rtol=1e-7)
    assert np.isfinite(ours.loss_curve_).all()


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_float32_stays_float32(task, solver):
    X, y, sample_weight = make_problem(task, dtype=np.float32)
    estimator = make_estimator(task, solver=solver, max_iter=3, random_state=0)
    # Neither float64 targets nor weights nor a later float64 X widen the model.
    estimator.fit(X, y, sample_weight.astype(np.float64))
    if solver != "lbfgs":
        estimator.partial_fit(X.astype(np.float64), y)
    outputs = (
        estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)
    )
    for array in [*estimator.coefs_, *estimator.intercepts_, outputs]:
        assert array.dtype == np.float32
