"""A user's own activations and losses: what the built-in ones do, and wherever these go."""

# A user may well write a lambda.
# ruff: noqa: PLW0108

import copy
import math
import os
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp
from fastmlp import (
    Checkpoint,
    CustomActivation,
    CustomLoss,
    MLPClassifier,
    MLPRegressor,
    find_learning_rate,
)
from tests.estimators.problems import CLASSIFICATION, TASKS, make_estimator, make_problem
from tests.kernels.compiled import IS_COMPILED, N_JOBS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
needs_compilation = pytest.mark.skipif(not IS_COMPILED, reason="there is no machine code")


def tanh(z):
    return math.tanh(z)


def tanh_derivative(z):
    return 1 - math.tanh(z) ** 2


def half_square(prediction, target):
    return (prediction - target) ** 2 / 2


def difference(prediction, target):
    return prediction - target


def absolute(prediction, target):
    return abs(prediction - target)


def sign(prediction, target):
    return np.sign(prediction - target)


def is_large(z):
    if z > 1.5:
        raise ValueError("this number is too large")
    return z


TANH = CustomActivation(tanh, tanh_derivative)
SQUARES = CustomLoss(half_square, difference)
ABSOLUTE = CustomLoss(absolute, sign)
OPTIONS = {"hidden_layer_sizes": (9, 7), "max_iter": 8, "random_state": 0, "n_jobs": 1}


def assert_alike(custom, builtin, rtol=1e-10):
    """Check that two models went the same way."""
    for ours, theirs in zip(custom.coefs_, builtin.coefs_, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol)
    assert custom.n_iter_ == builtin.n_iter_
    if hasattr(builtin, "loss_curve_"):
        np.testing.assert_allclose(custom.loss_curve_, builtin.loss_curve_, rtol=rtol)


# --------------------------------------------------------------------------------------
# The same trajectory
# --------------------------------------------------------------------------------------

SOLVERS = [
    {},
    {"solver": "lbfgs"},
    {"solver": "sgd", "momentum": 0, "batch_size": 1},
    {"solver": "adamw", "batch_size": 16, "alpha": 0.1},
    {"early_stopping": True, "max_iter": 30},
    {"early_stopping": True, "scoring": "loss"},
    {"hidden_layer_sizes": ()},
    {"hidden_layer_sizes": (100, 50)},
]


@pytest.mark.parametrize("options", SOLVERS, ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_own_tanh_is_the_built_in_one(task, options):
    X, y, weights = make_problem(task)
    options = OPTIONS | options
    custom = make_estimator(task, activation=TANH, **options).fit(X, y, weights)
    builtin = make_estimator(task, activation="tanh", **options).fit(X, y, weights)
    assert_alike(custom, builtin)


@pytest.mark.parametrize("options", SOLVERS, ids=str)
@pytest.mark.parametrize("task", ["regression", "binary", "multiclass", "multilabel"])
def test_own_squared_error_is_the_built_in_one(task, options):
    if "solver" in options and options["solver"] == "lbfgs" and task.startswith("multi"):
        pytest.skip("the reported loss, a mean over outputs in one and a sum in the other, matters")
    X, y, weights = make_problem(task)
    options = OPTIONS | options
    custom = make_estimator(task, loss=SQUARES, **options).fit(X, y, weights)
    builtin = make_estimator(task, loss="squared_error", **options).fit(X, y, weights)
    for ours, theirs in zip(custom.coefs_, builtin.coefs_, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    # The built-in squared error alone is reported as the mean over outputs.
    if custom.n_outputs_ == 1:
        assert_alike(custom, builtin)


@pytest.mark.parametrize("options", SOLVERS, ids=str)
@pytest.mark.parametrize("task", ["regression", "multioutput"])
def test_own_absolute_error_is_the_built_in_one(task, options):
    X, y, weights = make_problem(task)
    options = OPTIONS | options
    X_val, y_val, weights_val = X[:20] + 0.1, y[:20], weights[:20]
    held_out = {}
    if options.get("solver") != "lbfgs":
        held_out = {"X_val": X_val, "y_val": y_val, "sample_weight_val": weights_val}
    custom = MLPRegressor(loss=ABSOLUTE, **options).fit(X, y, weights, **held_out)
    builtin = MLPRegressor(loss="absolute_error", **options).fit(X, y, weights, **held_out)
    assert_alike(custom, builtin)
    if held_out:
        np.testing.assert_allclose(
            custom.validation_loss_curve_, builtin.validation_loss_curve_, rtol=1e-10
        )


def test_float32_stays_float32():
    X, y, _ = make_problem("multioutput", dtype=np.float32)
    custom = MLPRegressor(activation=TANH, loss=ABSOLUTE, **OPTIONS).fit(X, y)
    builtin = MLPRegressor(activation="tanh", loss="absolute_error", **OPTIONS).fit(X, y)
    assert custom.predict(X).dtype == np.float32
    assert_alike(custom, builtin, rtol=1e-3)


@pytest.mark.parametrize("n_jobs", N_JOBS)
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_threads_and_sparse_inputs(form, n_jobs):
    X, y, _ = make_problem("multioutput", n_samples=600, n_features=40)
    X[np.abs(X) < 0.5] = 0
    options = {"hidden_layer_sizes": (64,), "max_iter": 3, "random_state": 0, "n_jobs": n_jobs}
    custom = MLPRegressor(activation=TANH, loss=ABSOLUTE, **options).fit(form(X), y)
    builtin = MLPRegressor(activation="tanh", loss="absolute_error", **options).fit(form(X), y)
    assert_alike(custom, builtin)
    np.testing.assert_allclose(custom.predict(form(X)), builtin.predict(form(X)), rtol=1e-9)


def test_one_per_layer_and_at_the_output():
    X, y, _ = make_problem("regression")
    custom = MLPRegressor(activation=[TANH, "relu"], out_activation=TANH, **OPTIONS).fit(X, y)
    builtin = MLPRegressor(activation=["tanh", "relu"], out_activation="tanh", **OPTIONS).fit(X, y)
    assert_alike(custom, builtin)
    assert custom.out_activation_ == TANH
    assert [row.activation for row in custom.summary()] == ["tanh", "relu", "tanh"]


def test_warm_start_and_partial_fit():
    X, y, _ = make_problem("regression")
    pairs = [
        MLPRegressor(activation=one, loss=loss, warm_start=True, **OPTIONS)
        for one, loss in ((TANH, ABSOLUTE), ("tanh", "absolute_error"))
    ]
    for model in pairs:
        model.fit(X, y).fit(X, y).partial_fit(X, y)
    assert_alike(*pairs)


# --------------------------------------------------------------------------------------
# What fitted models can do
# --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def problem():
    return make_problem("regression")[:2]


@pytest.fixture(scope="module")
def pair(problem):
    """A model with functions of the user's, and its built-in twin."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return (
            MLPRegressor(activation=TANH, loss=ABSOLUTE, **OPTIONS).fit(*problem),
            MLPRegressor(activation="tanh", loss="absolute_error", **OPTIONS).fit(*problem),
        )


def test_inside(pair, problem):
    custom, builtin = pair
    X, y = problem
    for look in (
        lambda model: model.transform(X, layer=0),
        lambda model: model.input_gradients(X),
        lambda model: model.input_gradients(X, y),
    ):
        np.testing.assert_allclose(look(custom), look(builtin), rtol=1e-9, atol=1e-12)
    assert str(custom.summary()) == str(builtin.summary())


@needs_compilation
def test_to_numba(pair, problem):
    custom, X = pair[0], problem[0]
    np.testing.assert_allclose(custom.to_numba()(X)[:, 0], custom.predict(X), rtol=1e-12)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "pickle"],
)  # fmt: skip
def test_copies(pair, problem, duplicate):
    again = duplicate(pair[0])
    assert (again.activation, again.loss) == (TANH, ABSOLUTE)
    np.testing.assert_array_equal(again.predict(problem[0]), pair[0].predict(problem[0]))
    before = pair[0].coefs_[0].copy()
    again.partial_fit(*problem)
    assert (again.coefs_[0] != before).any()


def test_joblib(pair, problem, tmp_path):
    joblib.dump(pair[0], tmp_path / "model")
    again = joblib.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(problem[0]), pair[0].predict(problem[0]))


def test_clone_and_text(pair):
    again = clone(pair[0])
    assert (again.activation, again.loss) == (TANH, ABSOLUTE)
    assert not hasattr(again, "coefs_")
    text = "CustomActivation(tanh, tanh_derivative)"
    assert text in repr(again)
    assert text in again._repr_html_()


@pytest.mark.skipif(not IS_COMPILED, reason="slow in plain Python")
def test_search_in_two_processes(problem):
    pipeline = make_pipeline(StandardScaler(), MLPRegressor(**OPTIONS))
    choices = {
        "mlpregressor__activation": ["tanh", TANH, [TANH, "tanh"]],
        "mlpregressor__loss": ["absolute_error", ABSOLUTE],
    }
    search = GridSearchCV(pipeline, choices, n_jobs=2, cv=2, error_score="raise").fit(*problem)
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 6
    np.testing.assert_allclose(scores, scores[0], rtol=1e-9)


SCRIPT = """
import numpy as np
import warnings
from fastmlp import CustomActivation, CustomLoss, MLPRegressor
from sklearn.model_selection import cross_val_score

SCALE = 0.5
X = np.random.RandomState(0).normal(size=(60, 3))
activation = CustomActivation(lambda z: SCALE * z, lambda z: SCALE)
loss = CustomLoss(lambda a, y: (a - y) ** 2, lambda a, y: 2 * (a - y))
model = MLPRegressor(activation=activation, loss=loss, max_iter=3, tol=10, random_state=0)
warnings.simplefilter("ignore")
alone = cross_val_score(model, X, X[:, 0], n_jobs=1, error_score="raise")
print(np.allclose(alone, cross_val_score(model, X, X[:, 0], n_jobs=2, error_score="raise")))
"""


@needs_compilation
def test_lambdas_of_a_script_reach_other_processes():
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=Path(fastmlp.__file__).parents[1],
    )
    assert (result.stdout, result.returncode) == ("True\n", 0), result.stderr


PRINTING = """
import warnings
import numpy as np
from fastmlp import CustomLoss, MLPRegressor

def square(a, y):
    if y == 1:
        print("a one")
    return (a - y) ** 2

loss = CustomLoss(square, lambda a, y: 2 * (a - y), check=False)
warnings.simplefilter("ignore")
model = MLPRegressor(hidden_layer_sizes=(), loss=loss, max_iter=1, random_state=0)
model.fit(np.ones((3, 1)), [0, 1, 1])
"""


@needs_compilation
def test_functions_may_print(tmp_path):
    for _ in range(2):  # compiled, and loaded
        result = subprocess.run(
            [sys.executable, "-c", PRINTING],
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
            cwd=Path(fastmlp.__file__).parents[1],
            env={**os.environ, "FASTMLP_CACHE_DIR": str(tmp_path)},
        )
        assert (result.stdout, result.returncode) == ("a one\n" * 2, 0), result.stderr


def test_pictures():
    plots = pytest.importorskip("fastmlp.plots")
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    X, y, _ = make_problem("binary", n_features=2)
    model = MLPClassifier(hidden_layer_sizes=(4,), activation=TANH, max_iter=2).fit(X, y)
    display = plots.HiddenUnitsDisplay.from_estimator(model, X, y)
    assert display.activations == ("tanh", "logistic")
    plt.close("all")


def test_learning_rate_finder(problem):
    models = (
        MLPRegressor(activation=one, loss=loss, random_state=0)
        for one, loss in ((TANH, ABSOLUTE), ("tanh", "absolute_error"))
    )
    custom, builtin = (find_learning_rate(model, *problem) for model in models)
    assert custom.suggestion == pytest.approx(builtin.suggestion)


# --------------------------------------------------------------------------------------
# What does not go
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"), [("activation", TANH), ("loss", SQUARES), ("out_activation", TANH),
                        ("activation", ["relu", TANH])],
    ids=str,
)  # fmt: skip
def test_files_hold_no_functions(problem, tmp_path, name, value):
    pytest.importorskip("safetensors")
    model = MLPRegressor(**OPTIONS, **{name: value}).fit(*problem)
    message = rf"A model file holds no functions, and {name}=Custom.*\. Pickle the model instead"
    with pytest.raises(TypeError, match=message):
        model.save(tmp_path / "model")
    # Nor those that the fitted network has got, whatever the parameter says now.
    model.set_params(**{name: getattr(MLPRegressor(), name)})
    with pytest.raises(TypeError, match="A model file holds no functions"):
        model.save(tmp_path / "model")
    with pytest.raises(TypeError, match="A model file holds no functions"):
        MLPRegressor(
            **OPTIONS, **{name: value}, callbacks=[Checkpoint(tmp_path / "checkpoint")]
        ).fit(*problem)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"), [("activation", TANH), ("loss", SQUARES), ("out_activation", TANH),
                        ("activation", ["relu", TANH]), ("activation", [TANH, TANH])],
    ids=str,
)  # fmt: skip
def test_scikit_learn_does_not_know_them(problem, name, value):
    model = MLPRegressor(**OPTIONS, **{name: value})
    for _ in range(2):
        with pytest.raises(ValueError, match=name):
            model.to_sklearn()
        model.fit(*problem)


def test_the_classifier_needs_probabilities():
    X, y, _ = make_problem("binary")
    with pytest.raises(ValueError, match="'out_activation' parameter of MLPClassifier must be"):
        MLPClassifier(out_activation=TANH).fit(X, y)
    with pytest.raises(ValueError, match=r"label_smoothing=0.1 cannot be combined with loss=C"):
        MLPClassifier(loss=SQUARES, label_smoothing=0.1).fit(X, y)


@pytest.mark.parametrize("task", CLASSIFICATION)
def test_own_loss_of_a_classifier(task):
    X, y, _ = make_problem(task, n_samples=200)
    brier = CustomLoss(lambda p, y: 2 * (p - y) ** 2, lambda p, y: 4 * (p - y))
    options = {"max_iter": 500, "random_state": 0, "learning_rate_init": 0.02}
    model = MLPClassifier(loss=brier, **options).fit(X, y)
    assert model.score(X, y) > 0.9
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("activation", CustomLoss), ("out_activation", CustomLoss), ("loss", CustomActivation)],
)
def test_one_is_not_the_other(problem, name, kind):
    value = SQUARES if kind is CustomLoss else TANH
    with pytest.raises(ValueError, match=f"'{name}' parameter of MLPR.* must be .* Got Cust"):
        MLPRegressor(**{name: value}).fit(*problem)


def not_compiled(z):
    return z


UNCOMPILABLE = {
    "helper": (lambda z: not_compiled(z), r"Untyped global name 'not_compiled'"),
    "array": (lambda z: z * np.ones(1)[0], r""),
    "nothing": (lambda z: None, r"it returns none, not a number"),
    "pair": (lambda z: (z, z), r"it returns UniTuple\(float64 x 2\), not a number"),
    "unknown name": (lambda z: unheard_of(z), r"NameError: name 'unheard_of' is not defined"),  # noqa: F821
    "text": (lambda z: z + "a", r"No implementation of function"),
}


@needs_compilation
@pytest.mark.parametrize("case", UNCOMPILABLE)
def test_what_does_not_compile(problem, case):
    function, reason = UNCOMPILABLE[case]
    function.__name__ = "curious"
    custom = CustomActivation(function, tanh_derivative, check=False)
    message = (
        "^The 'activation' parameter of MLPRegressor is CustomActivation\\(curious, "
        f"tanh_derivative\\), but the function 'curious' cannot be compiled: {reason}[^\n]*$"
    )
    with pytest.raises(ValueError, match=message):
        MLPRegressor(activation=["relu", custom], hidden_layer_sizes=(3, 3)).fit(*problem)
    # The derivative is named where it is the derivative.
    custom = CustomActivation(tanh, function, check=False)
    with pytest.raises(ValueError, match=r"'out_activation' parameter .* function 'curious' can"):
        MLPRegressor(out_activation=custom).fit(*problem)
    loss = CustomLoss(half_square, lambda a, y: None, check=False)
    with pytest.raises(ValueError, match=r"'loss' parameter .* the function '<lambda>' cannot"):
        MLPRegressor(loss=loss).fit(*problem)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize(
    "options",
    [
        {"activation": CustomActivation(lambda z: z + np.nan, lambda z: 1.0, check=False)},
        {"activation": CustomActivation(lambda z: z, lambda z: z + np.nan, check=False)},
        {"loss": CustomLoss(lambda a, y: a - y, lambda a, y: a + np.nan, check=False)},
    ],
    ids=["activation", "derivative", "gradient"],
)
def test_nan_is_divergence(problem, options, solver):
    model = MLPRegressor(solver=solver, **OPTIONS, **options)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        model.fit(*problem)
    assert all(np.isfinite(weights).all() for weights in model.coefs_)
    assert model.stop_reason_ == "diverged"


@needs_compilation
@pytest.mark.parametrize("n_jobs", N_JOBS)
def test_exception_of_the_function_ends_the_fit(n_jobs):
    X = np.random.default_rng(0).normal(size=(2000, 100))
    custom = CustomActivation(is_large, lambda z: 1.0)
    model = MLPRegressor(
        hidden_layer_sizes=(64, 64), activation=custom, batch_size=500, n_jobs=n_jobs,
        random_state=0,
    )  # fmt: skip
    with pytest.raises(ValueError, match="this number is too large"):
        model.fit(X, X[:, 0])
    model.set_params(activation=TANH, max_iter=2).fit(X, X[:, 0])


def test_names_of_functions_mean_nothing(problem):
    # Units that are zero are dead only where the activation is the built-in one.
    def relu(z):
        return 0.0 * z

    custom = CustomActivation(relu, lambda z: 0.0)
    model = MLPRegressor(activation=custom, hidden_layer_sizes=(8,), random_state=0, max_iter=6)
    with pytest.warns(fastmlp.TrainingWarning, match="predicts the same") as caught:
        model.fit(*problem)
    assert not any(re.search("dead", str(warning.message)) for warning in caught)
