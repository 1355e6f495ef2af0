"""The same arguments and ``random_state`` give scikit-learn's trajectory."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn import neural_network

import fastmlp
from tests.estimators.covering import covering_cases
from tests.estimators.problems import CLASSIFICATION, TASKS, make_estimator, make_problem


def scikit_learn_averages_over_outputs():
    """Whether its squared error is the mean over the outputs; there is a plan to sum instead."""
    X, y = [[0.0]], [[1e3, 1e3]]
    theirs = neural_network.MLPRegressor(solver="sgd", tol=1e9, random_state=0).fit(X, y)
    return theirs.loss_curve_[0] < 7.5e5


# Once it sums, training on several outputs stops elsewhere: then there is nothing to compare.
PARITY_TASKS = [
    task for task in TASKS if task != "multioutput" or scikit_learn_averages_over_outputs()
]
ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]
N_SAMPLES = 60

SOLVERS = {
    "plain_sgd": dict(solver="sgd", momentum=0, learning_rate_init=0.02),
    "momentum": dict(
        solver="sgd", momentum=0.8, nesterovs_momentum=False, learning_rate_init=0.005
    ),
    "nesterov": dict(solver="sgd", momentum=0.8, learning_rate_init=0.005),
    "adam": dict(solver="adam", learning_rate_init=0.01, beta_1=0.8, beta_2=0.99),
}

GRID = dict(
    task=PARITY_TASKS,
    solver=list(SOLVERS),
    activation=ACTIVATIONS,
    learning_rate=["constant", "invscaling", "adaptive"],
    early_stopping=[False, True],
    batch_size=[1, 7, "auto", N_SAMPLES],
    weighted=[False, True],
    shuffle=[True, False],
    alpha=[0.0, 1e-4, 0.5],
    hidden_layer_sizes=[(), (8,), (6, 5)],
    n_iter_no_change=[2, 10],
)


def case_id(case):
    """A readable test id: the values of a case."""
    return "-".join(f"{name}={value}".replace(" ", "") for name, value in case.items())


def estimator_arguments(case):
    """Turn a case of the grid into arguments of the estimator, and tell if samples are weighted."""
    arguments = dict(case, max_iter=20, power_t=0.2, validation_fraction=0.2, random_state=3)
    arguments["tol"] = 0.02 if case["n_iter_no_change"] == 2 else 1e-4
    arguments.update(SOLVERS[arguments.pop("solver")])
    task, is_weighted = arguments.pop("task"), arguments.pop("weighted")
    return task, is_weighted, arguments


def fit_recording_warnings(estimator, *args, **kwargs):
    """Fit, and return the texts of the warnings that scikit-learn may give, too."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", fastmlp.TrainingWarning)
        estimator.fit(*args, **kwargs)
    return [(warning.category, str(warning.message)) for warning in caught]


def fit_both(task, arguments, *fit_arguments):
    """Fit fastmlp's and scikit-learn's estimator; both must warn alike."""
    ours = make_estimator(task, fastmlp, **arguments)
    theirs = make_estimator(task, neural_network, **arguments)
    assert fit_recording_warnings(ours, *fit_arguments) == fit_recording_warnings(
        theirs, *fit_arguments
    )
    return ours, theirs


def assert_close(actual, expected, rtol, what):
    """Compare two arrays by norm: a tiny entry may be off by a rounding of the largest."""
    # What decays to nearly nothing cannot be asked to be relatively exact.
    atol = 1e-13 if rtol < 1e-6 else 1e-4
    actual, expected = np.asarray(actual, dtype=float), np.asarray(expected, dtype=float)
    assert actual.shape == expected.shape, what
    distance = np.linalg.norm(actual - expected)
    assert distance <= rtol * np.linalg.norm(expected) + atol, f"{what} is off by {distance}"


def assert_same_weights(ours, theirs, rtol):
    """Compare all weights and biases, layer by layer."""
    assert len(ours.coefs_) == len(theirs.coefs_) == len(ours.intercepts_)
    for layer in range(len(theirs.coefs_)):
        assert_close(ours.coefs_[layer], theirs.coefs_[layer], rtol, f"coefs_[{layer}]")
        assert_close(
            ours.intercepts_[layer], theirs.intercepts_[layer], rtol, f"intercepts_[{layer}]"
        )


def assert_same_predictions(ours, theirs, X, rtol):
    """Compare labels exactly, numbers by norm."""
    if hasattr(theirs, "predict_proba"):
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        assert_close(ours.predict_proba(X), theirs.predict_proba(X), rtol, "predict_proba")
    else:
        assert_close(ours.predict(X), theirs.predict(X), rtol, "predict")


def assert_same_trajectory(ours, theirs, X, rtol=1e-7):
    """Compare everything that tells how two estimators were trained by sgd or adam."""
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)
    assert_close(ours.loss_curve_, theirs.loss_curve_, rtol, "loss_curve_")
    for name in ("loss_", "best_loss_", "validation_scores_", "best_validation_score_"):
        actual, expected = getattr(ours, name), getattr(theirs, name)
        if expected is None:
            assert actual is None, name
        else:
            assert_close(actual, expected, rtol, name)
    assert_same_weights(ours, theirs, rtol)
    assert_same_predictions(ours, theirs, X, rtol)


@pytest.mark.parametrize("case", covering_cases(GRID, strength=3), ids=case_id)
def test_trajectory(case):
    task, is_weighted, arguments = estimator_arguments(case)
    X, y, sample_weight = make_problem(task, N_SAMPLES)
    ours, theirs = fit_both(task, arguments, X, y, sample_weight if is_weighted else None)
    assert_same_trajectory(ours, theirs, X)


def test_grid_contains_fits_that_stop_early():
    # Otherwise the parity of n_iter_ would say nothing about the stopping rule.
    n_iters = set()
    for case in covering_cases(GRID, strength=2):
        task, _, arguments = estimator_arguments(case)
        X, y, _ = make_problem(task, N_SAMPLES)
        theirs = make_estimator(task, neural_network, **arguments)
        fit_recording_warnings(theirs, X, y)
        n_iters.add(theirs.n_iter_)
    assert len(n_iters) >= 5


@pytest.mark.parametrize("case", covering_cases(GRID, strength=2, seed=1), ids=case_id)
def test_trajectory_in_float32(case):
    task, is_weighted, arguments = estimator_arguments(case)
    X, y, sample_weight = make_problem(task, N_SAMPLES, dtype=np.float32)
    ours, theirs = fit_both(task, arguments, X, y, sample_weight if is_weighted else None)
    assert_same_trajectory(ours, theirs, X, rtol=1e-3)
    outputs = ours.predict_proba(X) if task in CLASSIFICATION else ours.predict(X)
    assert {array.dtype for array in [*ours.coefs_, *ours.intercepts_, outputs]} == {
        np.dtype(np.float32)
    }


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("hidden_layer_sizes", "batch_size", "n_samples"),
    [((100,), 200, 1797), ((130, 70, 33), 333, 1001), ((257,), 1, 80), ((50, 50), 1500, 1500)],
)
def test_larger_networks(hidden_layer_sizes, batch_size, n_samples, solver, is_sparse):
    # Large enough for all that small ones are spared: tiles, threads, remainders of both.
    X, y, sample_weight = make_problem("multiclass", n_samples, n_features=67)
    if is_sparse:
        X = sparse.csr_array(np.where(X < 1, 0, X))
    arguments = dict(
        hidden_layer_sizes=hidden_layer_sizes,
        batch_size=batch_size,
        max_iter=2,
        random_state=0,
        **SOLVERS[solver],
    )
    ours, theirs = fit_both("multiclass", arguments, X, y, sample_weight)
    assert_same_trajectory(ours, theirs, X)
    for n_jobs in (1, 2):
        first, second = (fastmlp.MLPClassifier(n_jobs=n_jobs, **arguments) for _ in range(2))
        for estimator in (first, second):
            fit_recording_warnings(estimator, X, y, sample_weight)
        assert_same_trajectory(first, theirs, X)
        # For a given number of threads, results repeat to the last bit.
        for one, other in zip(first.coefs_, second.coefs_, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden_layer_sizes", [(), (7,), (9, 4, 2)])
@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_initial_weights_are_equal_bit_for_bit(task, hidden_layer_sizes, activation, dtype):
    X, y, _ = make_problem(task, dtype=dtype)
    # So small a step is lost in rounding: what fit leaves is what it began with.
    arguments = dict(
        hidden_layer_sizes=hidden_layer_sizes,
        activation=activation,
        solver="sgd",
        learning_rate_init=1e-300,
        max_iter=1,
        random_state=5,
    )
    ours, theirs = fit_both(task, arguments, X, y)
    for mine, its in zip(
        [*ours.coefs_, *ours.intercepts_], theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        assert mine.dtype == its.dtype == dtype
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize(
    "case",
    covering_cases(
        dict(
            task=PARITY_TASKS,
            activation=ACTIVATIONS,
            hidden_layer_sizes=[(), (8,), (6, 5)],
            alpha=[1e-2, 1.0],
            weighted=[False, True],
        ),
        strength=2,
    ),
    ids=case_id,
)
def test_lbfgs(case):
    X, y, sample_weight = make_problem(case["task"])
    arguments = {name: case[name] for name in ("activation", "hidden_layer_sizes", "alpha")}
    arguments.update(solver="lbfgs", max_iter=15, random_state=2)
    ours, theirs = fit_both(
        case["task"], arguments, X, y, sample_weight if case["weighted"] else None
    )
    assert_same_predictions(ours, theirs, X, rtol=1e-3)
    assert_close(ours.loss_, theirs.loss_, 1e-3, "loss_")
    assert ours.t_ == theirs.t_ == 0


@pytest.mark.parametrize("task", PARITY_TASKS)
def test_lbfgs_in_float32(task):
    # scikit-learn goes over to float64 here, and takes other steps: only the end can be the same.
    X, y, _ = make_problem(task, dtype=np.float32)
    arguments = dict(hidden_layer_sizes=(), solver="lbfgs", alpha=1.0, random_state=2)
    ours, theirs = (
        make_estimator(task, package, **arguments).fit(X, y)
        for package in (fastmlp, neural_network)
    )
    assert_same_predictions(ours, theirs, X, rtol=2e-3)
    assert ours.coefs_[0].dtype == np.float32


@pytest.mark.parametrize("random_state", [None, "instance"])
def test_random_state_need_not_be_a_number(random_state):
    # None draws from NumPy's global generator; an instance goes on where the last fit left it.
    X, y, _ = make_problem("multiclass")
    fitted = []
    for package in (fastmlp, neural_network):
        np.random.seed(11)
        shared = None if random_state is None else np.random.RandomState(11)
        for _ in range(2):
            estimator = make_estimator("multiclass", package, max_iter=5, random_state=shared)
            fit_recording_warnings(estimator, X, y)
        fitted.append(estimator)
    assert_same_trajectory(*fitted, X)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("task", PARITY_TASKS)
def test_warm_start_chain(task, solver):
    X, y, sample_weight = make_problem(task)
    arguments = dict(
        hidden_layer_sizes=(6,),
        solver=solver,
        learning_rate="invscaling",
        learning_rate_init=0.01,
        max_iter=4,
        warm_start=True,
        random_state=0,
    )
    ours, theirs = fit_both(task, arguments, X, y)
    for weights in (sample_weight, None, sample_weight):
        for estimator in (ours, theirs):
            fit_recording_warnings(estimator, X, y, weights)
        assert_same_trajectory(ours, theirs, X)
    # Weights, curve and counts are kept from fit to fit.
    assert len(ours.loss_curve_) > ours.n_iter_


def test_warm_start_chain_under_early_stopping():
    X, y, _ = make_problem("regression", n_samples=200)
    arguments = dict(
        hidden_layer_sizes=(6,),
        max_iter=3,
        early_stopping=True,
        validation_fraction=0.3,
        warm_start=True,
        random_state=0,
    )
    ours, theirs = fit_both("regression", arguments, X, y)
    for _ in range(3):
        for estimator in (ours, theirs):
            fit_recording_warnings(estimator, X, y)
        # In a fit that betters nothing, scikit-learn overwrites the best weights; this is not one.
        assert theirs.best_validation_score_ == theirs.validation_scores_[-1]
        assert_same_trajectory(ours, theirs, X)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("task", PARITY_TASKS)
def test_partial_fit_sequence(task, solver):
    X, y, sample_weight = make_problem(task)
    arguments = dict(
        hidden_layer_sizes=(6,),
        solver=solver,
        learning_rate="invscaling",
        learning_rate_init=0.01,
        batch_size=8,
        random_state=0,
    )
    ours, theirs = (
        make_estimator(task, package, **arguments) for package in (fastmlp, neural_network)
    )
    classes = {}
    if task in CLASSIFICATION:
        classes["classes"] = np.arange(3) if task == "multilabel" else np.unique(y)
    # Chunks of different sizes, with weights and without, one with some classes missing.
    chunks = [slice(0, 20), slice(20, 60), slice(0, 9), slice(20, 60)]
    for number, rows in enumerate(chunks):
        weights = sample_weight[rows] if number % 2 else None
        for estimator in (ours, theirs):
            estimator.partial_fit(X[rows], y[rows], sample_weight=weights, **classes)
        classes = {}
        assert_same_trajectory(ours, theirs, X)


@pytest.mark.parametrize("dtypes", [(np.float64, np.float32), (np.float32, np.float64)])
def test_partial_fit_keeps_the_precision_of_the_first_call(dtypes):
    X, y, _ = make_problem("regression")
    ours, theirs = (
        make_estimator("regression", package, random_state=0)
        for package in (fastmlp, neural_network)
    )
    for dtype in dtypes:
        for estimator in (ours, theirs):
            estimator.partial_fit(X.astype(dtype), y)
    assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype == dtypes[0]
    assert_same_trajectory(ours, theirs, X, rtol=1e-7 if dtypes[0] == np.float64 else 1e-3)


def test_fit_after_partial_fit_starts_afresh_and_partial_fit_goes_on_after_fit():
    X, y, _ = make_problem("multiclass")
    ours, theirs = (
        make_estimator("multiclass", package, max_iter=3, random_state=0)
        for package in (fastmlp, neural_network)
    )
    for estimator in (ours, theirs):
        estimator.partial_fit(X, y, classes=[0, 10, 20])
        fit_recording_warnings(estimator, X, y)
        estimator.partial_fit(X, y)
    assert_same_trajectory(ours, theirs, X)


SPARSE_FORMATS = {
    "csr_matrix": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
    "csc_matrix": sparse.csc_matrix,
    "csc_array": sparse.csc_array,
    "coo_array": sparse.coo_array,
}


@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("sparse_format", SPARSE_FORMATS)
def test_sparse_input(sparse_format, early_stopping, index_dtype):
    X, y, _ = make_problem("multiclass")
    X[X < 0.3] = 0
    X[[0, 17, -1]] = 0
    X_sparse = SPARSE_FORMATS[sparse_format](X)
    if sparse_format.startswith("cs"):
        X_sparse.indices = X_sparse.indices.astype(index_dtype)
        X_sparse.indptr = X_sparse.indptr.astype(index_dtype)
    arguments = dict(max_iter=10, batch_size=7, early_stopping=early_stopping, random_state=0)
    ours, theirs = fit_both("multiclass", arguments, X_sparse, y)
    assert_same_trajectory(ours, theirs, X_sparse)
    assert_close(ours.predict_proba(X), ours.predict_proba(X_sparse), 1e-12, "dense prediction")


@pytest.mark.parametrize("task", PARITY_TASKS)
def test_sparse_input_of_every_task_and_lbfgs(task):
    X, y, sample_weight = make_problem(task)
    X_sparse = sparse.csr_array(np.where(X < 0.3, 0, X))
    ours, theirs = fit_both(
        task,
        dict(solver="lbfgs", alpha=0.1, max_iter=10, random_state=0),
        X_sparse,
        y,
        sample_weight,
    )
    assert_same_predictions(ours, theirs, X_sparse, rtol=1e-3)
    ours, theirs = fit_both(task, dict(max_iter=10, random_state=0), X_sparse, y, sample_weight)
    assert_same_trajectory(ours, theirs, X_sparse)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("task", PARITY_TASKS)
def test_data_frames(task, library):
    X, y, sample_weight = make_problem(task)
    names = [f"feature {number}" for number in range(X.shape[1])]
    if library == "pandas":
        frame, target = pd.DataFrame(X, columns=names), pd.DataFrame(y)
        weights = pd.Series(sample_weight)
        target = target if y.ndim == 2 else target[0]
    else:
        frame, weights = pl.DataFrame(X, schema=names), pl.Series(sample_weight)
        target = pl.DataFrame(y) if y.ndim == 2 else pl.Series(y)
    arguments = dict(max_iter=5, random_state=0)
    ours, theirs = fit_both(task, arguments, frame, target, weights)
    assert_same_trajectory(ours, theirs, frame)
    assert list(ours.feature_names_in_) == names


@pytest.mark.parametrize("kind", ["int64", "bool", "float16", "fortran", "strided", "list"])
def test_other_kinds_of_arrays(kind):
    X, y, _ = make_problem("multiclass")
    X = {
        "int64": lambda: (10 * X).astype(int),
        "bool": lambda: X > 0,
        "float16": lambda: X.astype(np.float16),
        "fortran": lambda: np.asfortranarray(X),
        "strided": lambda: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
        "list": X.tolist,
    }[kind]()
    ours, theirs = fit_both("multiclass", dict(max_iter=5, random_state=0), X, y)
    assert_same_trajectory(ours, theirs, X)
