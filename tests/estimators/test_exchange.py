"""Models taken from scikit-learn and handed to it."""

import copy
import pickle
import re

import numpy as np
import pandas as pd
import pytest
from sklearn import neural_network
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor
from tests.estimators.problems import TASKS, make_estimator, make_problem
from tests.estimators.test_parity import assert_close

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SOLVERS = {
    "adam": {"solver": "adam"},
    "nesterov": {"solver": "sgd"},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "plain": {"solver": "sgd", "momentum": 0},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {
        "solver": "sgd", "learning_rate": "adaptive", "tol": 0.01, "n_iter_no_change": 1,
        "learning_rate_init": 0.1,
    },
    "lbfgs": {"solver": "lbfgs"},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3},
}  # fmt: skip
ATTRIBUTES = [
    "n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_",
    "best_validation_score_", "n_features_in_", "n_outputs_", "n_layers_", "out_activation_",
]  # fmt: skip


def arguments_for(solver):
    return {
        "hidden_layer_sizes": (6, 4), "activation": "tanh", "learning_rate_init": 0.02,
        "max_iter": 25, "random_state": 0, "batch_size": 16, **SOLVERS[solver],
    }  # fmt: skip


def converted(model):
    """The model in the other package."""
    if isinstance(model, fastmlp.MLPClassifier | fastmlp.MLPRegressor):
        return model.to_sklearn()
    return getattr(fastmlp, type(model).__name__).from_sklearn(model)


def assert_equal_state(ours, theirs):
    """Everything public is the same, to the last bit."""
    for name in ("coefs_", "intercepts_"):
        for mine, its in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert mine.dtype == its.dtype
            np.testing.assert_array_equal(mine, its)
    for name in ATTRIBUTES:
        assert hasattr(ours, name) == hasattr(theirs, name), name
        np.testing.assert_equal(getattr(ours, name, None), getattr(theirs, name, None))
    if hasattr(theirs, "classes_"):
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
        assert ours.classes_.dtype == theirs.classes_.dtype
    assert theirs.get_params().items() <= ours.get_params().items()


def assert_equal_predictions(ours, theirs, X):
    dtype = ours.coefs_[0].dtype
    if hasattr(theirs, "predict_proba"):
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        ours, theirs = ours.predict_proba(X), theirs.predict_proba(X)
    else:
        ours, theirs = ours.predict(X), theirs.predict(X)
    assert_close(ours, theirs, 1e-12 if dtype == np.float64 else 1e-5, "predictions")


@pytest.mark.parametrize("source", [neural_network, fastmlp], ids=["from sklearn", "to sklearn"])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("task", TASKS)
def test_fitted_model(task, solver, source):
    X, y, _ = make_problem(task)
    model = make_estimator(task, source, **arguments_for(solver)).fit(X, y)
    other = converted(model)
    ours, theirs = (model, other) if source is fastmlp else (other, model)
    assert type(ours).__module__.startswith("fastmlp")
    assert type(theirs).__module__.startswith("sklearn")
    assert_equal_state(ours, theirs)
    assert_equal_predictions(ours, theirs, X)
    # There and back again: nothing is lost.
    back = converted(other)
    assert_equal_state(*((back, theirs) if source is fastmlp else (ours, back)))
    # Nothing is shared.
    kept = copy.deepcopy(model.coefs_)
    for array in other.coefs_ + other.intercepts_:
        array += 1
    for mine, its in zip(model.coefs_, kept, strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("source", [neural_network, fastmlp], ids=["from sklearn", "to sklearn"])
@pytest.mark.parametrize(
    "solver", [name for name in SOLVERS if name not in ("lbfgs", "early stopping")]
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_partial_fit_goes_on_alike(solver, source, dtype):
    X, y, _ = make_problem("multiclass", dtype=dtype)
    model = make_estimator("multiclass", source, **arguments_for(solver)).fit(X, y)
    other = converted(model)
    fresh = copy.deepcopy(other)
    # What partial_fit would do without the optimizer's state.
    if source is fastmlp:
        del fresh._optimizer
    else:
        fresh._optimizer = None
    for _ in range(5):
        for part in (slice(0, 30), slice(30, 60)):
            model.partial_fit(X[part], y[part])
            other.partial_fit(X[part], y[part])
            fresh.partial_fit(X[part], y[part])
    rtol = 1e-9 if dtype == np.float64 else 2e-3
    for mine, its in zip(model.coefs_, other.coefs_, strict=True):
        assert_close(mine, its, rtol, "coefs_")
    assert_close(model.loss_curve_, other.loss_curve_, rtol, "loss_curve_")
    assert (model.t_, model.n_iter_) == (other.t_, other.n_iter_)
    if solver != "plain":
        moved = [np.abs(a - b).max() for a, b in zip(fresh.coefs_, other.coefs_, strict=True)]
        assert max(moved) > 1e-4


@pytest.mark.parametrize("source", [neural_network, fastmlp], ids=["from sklearn", "to sklearn"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_warm_start_goes_on_alike(source, early_stopping):
    X, y, _ = make_problem("binary", n_samples=200)
    arguments = {**arguments_for("adam"), "early_stopping": early_stopping, "max_iter": 4}
    model = make_estimator("binary", source, warm_start=True, **arguments).fit(X, y)
    other = converted(model)
    model.fit(X, y)
    other.fit(X, y)
    if early_stopping:  # where scikit-learn's best weights go on changing, see the README
        assert_close(model.validation_scores_, other.validation_scores_, 1e-9, "scores")
    else:
        for mine, its in zip(model.coefs_, other.coefs_, strict=True):
            assert_close(mine, its, 1e-9, "coefs_")
        assert_close(model.loss_curve_, other.loss_curve_, 1e-9, "loss_curve_")


@pytest.mark.parametrize("source", [neural_network, fastmlp], ids=["from sklearn", "to sklearn"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_float32(solver, source):
    X, y, _ = make_problem("multioutput", dtype=np.float32)
    model = make_estimator("multioutput", source, **arguments_for(solver)).fit(X, y)
    other = converted(model)
    ours, theirs = (model, other) if source is fastmlp else (other, model)
    assert_equal_state(ours, theirs)
    # scikit-learn's lbfgs returns float64 weights, and they stay that.
    wide = source is neural_network and solver == "lbfgs"
    assert ours.coefs_[0].dtype == (np.float64 if wide else np.float32)
    assert_equal_predictions(ours, theirs, X)


def test_partial_fit_only():
    X, y, _ = make_problem("multiclass")
    theirs = neural_network.MLPClassifier((5,), random_state=0)
    theirs.partial_fit(X[:20], y[:20], classes=[0, 10, 20, 30])
    ours = MLPClassifier.from_sklearn(theirs)
    assert ours.predict_proba(X).shape == (60, 4)
    ours.partial_fit(X[20:], y[20:])
    theirs.partial_fit(X[20:], y[20:])
    assert_close(ours.coefs_[0], theirs.coefs_[0], 1e-10, "coefs_")
    with pytest.raises(ValueError, match="has classes not in"):
        ours.partial_fit(X[:2], [5, 7])


@pytest.mark.parametrize(
    "labels",
    [["b", "a", "c"], [3.0, 1.0, 7.0], [True, False, True], ["one class"]],
)
def test_labels_of_any_kind(labels):
    X, y, _ = make_problem("multiclass")
    y = np.asarray(labels)[(y // 10) % len(labels)]
    theirs = neural_network.MLPClassifier((4,), max_iter=3, random_state=0).fit(X, y)
    ours = MLPClassifier.from_sklearn(theirs)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_array_equal(ours.to_sklearn().predict(X), theirs.predict(X))
    assert ours.predict(X).dtype == theirs.predict(X).dtype


def test_names_of_features():
    X, y, _ = make_problem("regression")
    frame = pd.DataFrame(X, columns=list("abcde"))
    theirs = neural_network.MLPRegressor(hidden_layer_sizes=(4,), max_iter=3).fit(frame, y)
    ours = MLPRegressor.from_sklearn(theirs)
    for model in (ours, ours.to_sklearn()):
        np.testing.assert_array_equal(model.feature_names_in_, list("abcde"))
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            model.predict(X)
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(frame[list("bacde")])


@pytest.mark.parametrize("hidden", [(), (5,), [5, 4], 7, np.array([3, 2])])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_architectures(hidden, activation):
    X, y, _ = make_problem("poisson")
    theirs = neural_network.MLPRegressor("poisson", hidden, activation, max_iter=3).fit(X, y)
    ours = MLPRegressor.from_sklearn(theirs)
    assert_equal_predictions(ours, theirs, X)
    assert ours.summary()[-1].activation == "exp"
    assert_equal_predictions(ours, ours.to_sklearn(), X)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_what_comes_out_is_a_whole_model(solver):
    X, y, _ = make_problem("multiclass")
    theirs = make_estimator("multiclass", neural_network, **arguments_for(solver)).fit(X, y)
    ours = MLPClassifier.from_sklearn(theirs)
    again = pickle.loads(pickle.dumps(copy.deepcopy(ours)))
    assert_equal_predictions(again, theirs, X)
    assert ours.transform(X).shape == (60, 4)
    assert "hidden 1" in str(ours.summary())
    # And it can be fitted anew, which starts from the same weights as ever.
    ours.fit(X, y)
    assert_close(ours.coefs_[0], theirs.coefs_[0], 1e-6, "coefs_")
    handed = pickle.loads(pickle.dumps(ours.to_sklearn()))
    handed.fit(X, y)
    assert_close(handed.coefs_[0], theirs.coefs_[0], 1e-12, "coefs_")


def test_random_state_is_copied():
    X, y, _ = make_problem("regression")
    theirs = neural_network.MLPRegressor(
        hidden_layer_sizes=(4,), random_state=np.random.RandomState(0), max_iter=3
    )
    theirs.fit(X, y)
    ours = MLPRegressor.from_sklearn(theirs)
    assert ours.random_state is not theirs.random_state
    ours.partial_fit(X, y)
    theirs.partial_fit(X, y)
    assert_close(ours.coefs_[0], theirs.coefs_[0], 1e-10, "coefs_")


def test_models_that_were_not_fitted():
    theirs = neural_network.MLPClassifier((3,), alpha=0.5, solver="sgd")
    ours = MLPClassifier.from_sklearn(theirs)
    assert theirs.get_params().items() <= ours.get_params().items()
    with pytest.raises(NotFittedError):
        ours.predict([[0.0]])
    back = MLPClassifier((3,), alpha=0.5, n_jobs=2, weight_init="he_normal").to_sklearn()
    assert back.get_params() == neural_network.MLPClassifier((3,), alpha=0.5).get_params()
    with pytest.raises(NotFittedError):
        back.predict([[0.0]])


def test_subclasses():
    class Ours(MLPRegressor):
        pass

    class Theirs(neural_network.MLPRegressor):
        pass

    X, y, _ = make_problem("regression")
    model = Ours.from_sklearn(Theirs(hidden_layer_sizes=(3,), max_iter=2).fit(X, y))
    assert type(model) is Ours
    assert type(model.to_sklearn()) is neural_network.MLPRegressor


@pytest.mark.parametrize(
    "model",
    [LogisticRegression(), neural_network.MLPRegressor(), MLPClassifier(), None, MLPClassifier],
)
def test_other_models_are_refused(model):
    message = "from_sklearn needs a sklearn.neural_network.MLPClassifier, got"
    with pytest.raises(TypeError, match=re.escape(message)):
        MLPClassifier.from_sklearn(model)


def test_loss_that_was_set_after_the_fit():
    X, y, _ = make_problem("poisson")
    theirs = neural_network.MLPRegressor("poisson", (3,), max_iter=2).fit(X, y)
    theirs.set_params(loss="squared_error")
    with pytest.raises(ValueError, match="loss='squared_error' was set after the model was fitted"):
        MLPRegressor.from_sklearn(theirs)


@pytest.mark.parametrize("is_fitted", [False, True])
@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("binary", {"activation": "gelu"}, "The 'activation' parameter of MLPClassifier must be"),
        ("binary", {"activation": ["tanh", "relu"]}, "activation=('tanh', 'relu') is not known"),
        ("binary", {"activation": ["prelu"] * 2}, "The 'activation' parameter of MLPClassifier"),
        (
            "binary",
            {"loss": "squared_error"},
            "loss='squared_error' is not known to",
        ),
        ("multioutput", {"out_activation": "tanh"}, "out_activation='tanh' is not known to"),
    ],
)
def test_what_scikit_learn_cannot_represent(task, arguments, message, is_fitted):
    X, y, _ = make_problem(task)
    model = make_estimator(task, hidden_layer_sizes=(4, 3), max_iter=2, **arguments)
    if is_fitted:
        model.fit(X, y)
    elif "('tanh'" in message:
        message = message.replace("('tanh', 'relu')", "['tanh', 'relu']")
    with pytest.raises(ValueError, match=re.escape(message)):
        model.to_sklearn()


def test_what_it_can_although_it_is_told_otherwise():
    X, y, _ = make_problem("regression")
    model = MLPRegressor(
        hidden_layer_sizes=(4, 3), activation=["tanh", "tanh"], out_activation="identity",
        activation_slope=0.3, n_jobs=1, weight_init="orthogonal", max_iter=2,
    ).fit(X, y)  # fmt: skip
    theirs = model.to_sklearn()
    assert theirs.activation == "tanh"
    assert_equal_predictions(model, theirs, X)


def test_one_class():
    X, _, _ = make_problem("binary")
    theirs = neural_network.MLPClassifier((3,), max_iter=2).fit(X, ["a"] * 60)
    ours = MLPClassifier.from_sklearn(theirs)
    assert set(ours.predict(X)) == {"a"} == set(ours.to_sklearn().predict(X))
