"""What scikit-learn promises of an estimator, and of its perceptrons in particular."""

import inspect
import pickle
import re
from itertools import pairwise
from unittest import SkipTest

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context, neural_network
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastmlp
from tests.estimators.problems import TASKS, make_estimator, make_problem

NAMES = ["MLPClassifier", "MLPRegressor"]
PACKAGES = [fastmlp, neural_network]


@parametrize_with_checks([fastmlp.MLPClassifier(), fastmlp.MLPRegressor()])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
# Some checks set no seed: one network in a thousand has that many dead units on their few rows.
@pytest.mark.filterwarnings("ignore::fastmlp.estimators._diagnostics.DeadUnitsWarning")
def test_estimator_check(estimator, check):
    try:
        check(estimator)
    except SkipTest:
        # Fine, if scikit-learn's own estimator skips this check as well.
        theirs = getattr(neural_network, type(estimator).__name__)()
        with pytest.raises(SkipTest):
            check(theirs)
        raise


# --------------------------------------------------------------------------------------
# Parameters
# --------------------------------------------------------------------------------------


def parameters_of(function):
    """Names, kinds and defaults; how the types are told is our own affair."""
    parameters = inspect.signature(function).parameters.values()
    return [(parameter.name, parameter.kind, parameter.default) for parameter in parameters]


@pytest.mark.parametrize("name", NAMES)
def test_signature_begins_with_that_of_scikit_learn(name):
    ours, theirs = (parameters_of(getattr(package, name)) for package in PACKAGES)
    assert ours[: len(theirs)] == theirs
    assert {kind for _, kind, _ in ours[len(theirs) :]} <= {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict", "score"])
def test_signatures_of_methods(name, method):
    ours, theirs = (
        parameters_of(getattr(getattr(package, name)(), method)) for package in PACKAGES
    )
    assert ours[: len(theirs)] == theirs


@pytest.mark.parametrize("name", NAMES)
def test_get_params_clone_and_repr(name):
    arguments = {"hidden_layer_sizes": [7, 3], "solver": "sgd", "n_iter_no_change": np.inf}
    ours, theirs = (getattr(package, name)(**arguments) for package in PACKAGES)
    parameters = ours.get_params()
    assert theirs.get_params().items() <= parameters.items()
    assert clone(ours).get_params() == parameters
    assert repr(ours) == repr(theirs)
    # The values are kept as they were given, not turned into what training uses.
    assert ours.hidden_layer_sizes is arguments["hidden_layer_sizes"]


BAD_VALUES = {
    "alpha": [-1e-9, np.nan, "0.1", None, 1j],
    "batch_size": [0, -3, 2.5, "all", None],
    "learning_rate_init": [0, -0.1, np.nan, "fast"],
    "power_t": [-0.5, "1", np.nan],
    "max_iter": [0, -1, 10.0, np.inf],
    "shuffle": [1, "yes", None],
    "random_state": [-1, "seed", 1.5, np.random.default_rng(0)],
    "tol": [-1e-4, np.nan, "small"],
    "warm_start": [0, "yes", None],
    "momentum": [-0.1, 1.1, np.nan, "0.9"],
    "nesterovs_momentum": [1, "yes", None],
    "early_stopping": [1, "yes", None],
    "validation_fraction": [-0.1, 1, 1.0, np.nan, "0.1"],
    "beta_1": [-0.1, 1.0, np.nan, "0.9"],
    "beta_2": [-0.1, 1.0, np.nan, "0.9"],
    "epsilon": [0, -1e-8, np.nan],
    "n_iter_no_change": [0, -1, 2.5, -np.inf, np.nan, "10"],
    "max_fun": [0, -1, 1.5, np.inf],
    "hidden_layer_sizes": [0, -3],
}


@pytest.mark.parametrize("value", ["newton", None])
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_bad_solver_gets_the_words_of_scikit_learn_with_our_choices(name, value):
    model = getattr(fastmlp, name)(solver=value)
    choices = r"a str among \{'adagrad', .*'sgd'\}"
    pattern = f"The 'solver' parameter of {name} must be {choices}. Got {value!r} instead."
    with pytest.raises(ValueError, match=pattern):
        model.fit([[0.0], [1.0]], [0, 1])


def in_fixed_order(message):
    """Sort what stands in braces: scikit-learn lists the names of a set in any order."""
    return re.sub(r"\{(.*?)\}", lambda match: str(sorted(match.group(1).split(", "))), message)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [(name, value) for name, values in BAD_VALUES.items() for value in values],
)
@pytest.mark.parametrize("name", NAMES)
def test_bad_parameter_gets_the_words_of_scikit_learn(name, parameter, value):
    X, y = [[0.0], [1.0]], [0, 1]
    methods = {"fit": {}}
    if parameter != "solver":  # without a known solver there is no partial_fit
        methods["partial_fit"] = {"classes": y} if name == "MLPClassifier" else {}
    for method, keywords in methods.items():
        messages = []
        for package in PACKAGES:
            estimator = getattr(package, name)(**{parameter: value})
            with pytest.raises(ValueError, match=f"The '{parameter}' parameter") as error:
                getattr(estimator, method)(X, y, **keywords)
            assert isinstance(error.value, TypeError)
            messages.append(in_fixed_order(str(error.value)))
        assert messages[0] == messages[1]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("MLPClassifier", {"activation": "sine"}),
        ("MLPClassifier", {"activation": None}),
        ("MLPClassifier", {"activation": ["relu", "sine"], "hidden_layer_sizes": (3, 3)}),
        ("MLPClassifier", {"activation": ["relu"], "hidden_layer_sizes": (3, 3)}),
        ("MLPClassifier", {"out_activation": "sine"}),
        ("MLPClassifier", {"loss": "hinge"}),
        ("MLPClassifier", {"learning_rate": "linear"}),
        ("MLPClassifier", {"learning_rate": 0.1}),
        ("MLPClassifier", {"learning_rate": ["cosine"]}),
        ("MLPClassifier", {"verbose": -1}),
        ("MLPClassifier", {"verbose": "loud"}),
        ("MLPClassifier", {"verbose": None}),
        ("MLPClassifier", {"verbose": 1.5}),
        ("MLPRegressor", {"loss": "hinge"}),
        ("MLPRegressor", {"loss": None}),
        ("MLPRegressor", {"activation_slope": "steep"}),
        ("MLPRegressor", {"activation_slope": np.nan}),
        ("MLPRegressor", {"activation_slope": [0.1], "hidden_layer_sizes": (3, 3)}),
        ("MLPRegressor", {"hidden_layer_sizes": "wide"}),
        ("MLPRegressor", {"hidden_layer_sizes": None}),
        ("MLPRegressor", {"hidden_layer_sizes": (3, 0)}),
        ("MLPRegressor", {"hidden_layer_sizes": (3, -1)}),
        ("MLPRegressor", {"hidden_layer_sizes": (3, "4")}),
        ("MLPRegressor", {"hidden_layer_sizes": ((3, 3), (4, 4))}),
        ("MLPRegressor", {"hidden_layer_sizes": (True, 3)}),
    ],
)
def test_bad_value_of_what_fastmlp_extends_names_the_parameter(name, parameters):
    estimator = getattr(fastmlp, name)(**parameters)
    with pytest.raises(ValueError, match=next(iter(parameters))):
        estimator.fit([[0.0], [1.0]], [0, 1])
    assert not hasattr(estimator, "coefs_")


def test_unknown_activation_is_told_the_choices():
    with pytest.raises(ValueError, match="activation") as error:
        fastmlp.MLPClassifier(activation="sine").fit([[0.0], [1.0]], [0, 1])
    for name in ("relu", "tanh", "logistic", "identity", "prelu", "gelu", "mish"):
        assert repr(name) in str(error.value)


# --------------------------------------------------------------------------------------
# Attributes
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fitted_attributes(task, solver, early_stopping):
    X, y, _ = make_problem(task)
    frame = pd.DataFrame(X, columns=list("abcde"))
    ours, theirs = (
        make_estimator(
            task, package, solver=solver, early_stopping=early_stopping, max_iter=3, random_state=0
        ).fit(frame, y)
        for package in PACKAGES
    )
    public = {name for name in vars(theirs) if re.fullmatch(r"[a-z]\w*_", name)}
    assert public <= set(dir(ours))
    for name in {
        "loss_curve_",
        "best_loss_",
        "validation_scores_",
        "best_validation_score_",
    } - public:
        assert not hasattr(ours, name)
    for name in public:
        actual, expected = getattr(ours, name), getattr(theirs, name)
        assert isinstance(actual, list) == isinstance(expected, list), name
        if isinstance(expected, (int, str, type(None))):
            assert actual == expected, name
            assert type(actual) is type(expected), name
        elif name in ("classes_", "feature_names_in_"):
            np.testing.assert_array_equal(actual, expected)
            assert actual.dtype == expected.dtype, name


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_views_on_one_vector(name):
    X, y, _ = make_problem("binary" if name == "MLPClassifier" else "regression")
    estimator = getattr(fastmlp, name)(hidden_layer_sizes=(4, 3)).partial_fit(
        X, y, **({"classes": ["no", "yes"]} if name == "MLPClassifier" else {})
    )
    arrays = [*estimator.coefs_, *estimator.intercepts_]
    # scikit-learn's packing: all weights, then all biases, each beginning where the last ended.
    for left, right in pairwise(arrays):
        assert left.ctypes.data + left.nbytes == right.ctypes.data
        assert left.flags.c_contiguous
    # What is written into them is what the network is.
    for array in arrays:
        array[...] = 0
    for bias, label in ((7, "yes"), (-7, "no")):
        estimator.intercepts_[-1][...] = bias
        assert estimator.predict(X[:1]) == (label if name == "MLPClassifier" else bias)


@pytest.mark.parametrize("name", NAMES)
def test_partial_fit_exists_only_for_stochastic_solvers(name):
    assert hasattr(getattr(fastmlp, name)(solver="adam"), "partial_fit")
    # (scikit-learn's regressor has it all the same, and runs a whole fit.)
    estimator = getattr(fastmlp, name)(solver="lbfgs")
    assert not hasattr(estimator, "partial_fit")
    with pytest.raises(AttributeError):
        estimator.partial_fit([[0.0]], [1.0])


@pytest.mark.parametrize("name", NAMES)
def test_prediction_before_fit(name):
    estimator = getattr(fastmlp, name)()
    methods = ["predict"] + ["predict_proba", "predict_log_proba"] * (name == "MLPClassifier")
    for method in methods:
        with pytest.raises(NotFittedError, match=f"This {name} instance is not fitted yet"):
            getattr(estimator, method)([[0.0]])


@pytest.mark.parametrize("name", NAMES)
def test_tags_are_those_of_scikit_learn(name):
    ours, theirs = (get_tags(getattr(package, name)()) for package in PACKAGES)
    # Hidden activations: scikit-learn's perceptrons are no transformers.
    assert ours.transformer_tags.preserves_dtype == ["float64", "float32"]
    assert theirs.transformer_tags is None
    ours.transformer_tags = None
    assert ours == theirs


# --------------------------------------------------------------------------------------
# Messages
# --------------------------------------------------------------------------------------


def small_problem():
    """Five samples of two classes."""
    return np.arange(10.0).reshape(5, 2), np.array([0, 1, 0, 1, 0])


def test_convergence_warning():
    message = (
        r"^Stochastic Optimizer: Maximum iterations \(3\) reached and the optimization"
        r" hasn't converged yet\.$"
    )
    with pytest.warns(ConvergenceWarning, match=message):
        fastmlp.MLPClassifier(max_iter=3).fit(*small_problem())


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_rate_is_that_of_the_first_partial_fit_but_of_each_warm_start(solver):
    X, y = small_problem()
    for is_incremental in (True, False):
        coefs = []
        for package in PACKAGES:
            model = package.MLPClassifier(
                solver=solver, random_state=0, max_iter=2, warm_start=not is_incremental
            )
            for rate in (0.01, 0.5):
                model.set_params(learning_rate_init=rate)
                if is_incremental:
                    model.partial_fit(X, y, classes=np.unique(y))
                else:
                    model.fit(X, y)
            coefs.append(model.coefs_[0])
        np.testing.assert_allclose(*coefs, rtol=1e-7)


def test_partial_fit_does_not_warn_of_convergence():
    fastmlp.MLPClassifier(max_iter=1).partial_fit(*small_problem(), classes=[0, 1])


def test_lbfgs_convergence_warning_is_that_of_scikit_learn():
    texts = []
    for package in PACKAGES:
        with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge") as caught:
            package.MLPClassifier(solver="lbfgs", max_iter=2, random_state=0).fit(*small_problem())
        texts.append([str(warning.message) for warning in caught])
    assert texts[0] == texts[1]


def test_batch_size_warning():
    message = (
        r"^Got `batch_size` less than 1 or larger than sample size\. It is going to be clipped$"
    )
    with pytest.warns(UserWarning, match=message):
        fastmlp.MLPClassifier(batch_size=6, tol=10).fit(*small_problem())


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_non_finite_weights(solver):
    message = (
        r"^Solver produced non-finite parameter weights\. The input data may contain large values"
        r" and need to be preprocessed\."
    )
    X, y = small_problem()
    with pytest.raises(ValueError, match=message):
        fastmlp.MLPRegressor(solver=solver, random_state=0).fit(1e307 * X, y)


def test_small_validation_set():
    message = (
        r"^The validation set is too small\. Increase 'validation_fraction' or the size of your"
        r" dataset\."
    )
    with pytest.raises(ValueError, match=message):
        fastmlp.MLPRegressor(early_stopping=True).fit(*small_problem())


def test_errors_of_partial_fit():
    X, y = small_problem()
    with pytest.raises(ValueError, match=r"^partial_fit does not support early_stopping=True$"):
        fastmlp.MLPRegressor(early_stopping=True).partial_fit(X, y)
    with pytest.raises(
        ValueError, match=r"^classes must be passed on the first call to partial_fit\.$"
    ):
        fastmlp.MLPClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match=r"^`y` has classes not in `self\.classes_`\."):
        fastmlp.MLPClassifier().partial_fit(X, y, classes=[1, 2])
    classifier = fastmlp.MLPClassifier().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="is not the same as on last call to partial_fit"):
        classifier.partial_fit(X, y, classes=[0, 1, 2])


@pytest.mark.parametrize(
    "arguments",
    [
        {"solver": "adam"},
        {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 5e-6, "max_iter": 9},
        {"solver": "adam", "early_stopping": True, "validation_fraction": 0.4},
    ],
)
def test_verbose_prints_what_scikit_learn_prints(arguments, capsys):
    X, y, _ = make_problem("regression")
    printed = []
    for package in PACKAGES:
        estimator = package.MLPRegressor(
            verbose=True, tol=0.5, n_iter_no_change=1, random_state=0, **arguments
        )
        estimator.fit(X, y)
        printed.append(capsys.readouterr().out)
    assert "Iteration 1, loss = " in printed[0]
    assert printed[0] == printed[1]


# --------------------------------------------------------------------------------------
# Company
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_metadata_routing_is_that_of_scikit_learn_and_of_validation_data(name):
    ours, theirs = (vars(getattr(package, name)().get_metadata_routing()) for package in PACKAGES)
    for method, requests in theirs.items():
        if not hasattr(requests, "requests"):
            continue
        expected = dict(requests.requests)
        if method == "fit":
            expected |= dict.fromkeys(("X_val", "y_val", "sample_weight_val"))
        assert ours[method].requests == expected
    assert "fit" in theirs


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_sample_weight_is_routed_through_a_pipeline_and_a_search():
    X, y, sample_weight = make_problem("binary")
    with config_context(enable_metadata_routing=True):
        results = []
        for package in PACKAGES:
            network = package.MLPClassifier((4,), max_iter=5, random_state=0)
            network.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
            scaler = StandardScaler().set_fit_request(sample_weight=False)
            search = GridSearchCV(
                make_pipeline(scaler, network), {"mlpclassifier__alpha": [0.1, 1]}, cv=2
            )
            results.append(search.fit(X, y, sample_weight=sample_weight).predict_proba(X))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-7)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("task", TASKS)
def test_pickled_estimator_predicts_and_trains_on_alike(task):
    X, y, _ = make_problem(task)
    original = make_estimator(task, max_iter=3, random_state=0).fit(X, y)
    copy = pickle.loads(pickle.dumps(original))
    np.testing.assert_array_equal(copy.predict(X), original.predict(X))
    for estimator in (original, copy):
        estimator.partial_fit(X, y)
    np.testing.assert_array_equal(copy.predict(X), original.predict(X))
    np.testing.assert_array_equal(copy.coefs_[0], original.coefs_[0])
    assert not np.shares_memory(copy.coefs_[0], original.coefs_[0])


def test_feature_names_are_checked():
    X, y, _ = make_problem("binary")
    frame = pd.DataFrame(X, columns=list("abcde"))
    classifier = fastmlp.MLPClassifier(tol=10, random_state=0).fit(frame, y)
    assert list(classifier.feature_names_in_) == list("abcde")
    with pytest.raises(ValueError, match="feature names should match those that were passed"):
        classifier.predict(frame[list("edcba")])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        classifier.predict(X)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_score_is_that_of_the_predictions(task):
    X, y, sample_weight = make_problem(task)
    ours, theirs = (
        make_estimator(task, package, max_iter=5, random_state=0).fit(X, y) for package in PACKAGES
    )
    assert ours.score(X, y, sample_weight) == pytest.approx(
        theirs.score(X, y, sample_weight), rel=1e-7
    )
