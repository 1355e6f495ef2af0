"""The parameter weight_init: rules by name, and given weights."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from fastmlp.training.initialisation import INITIALISATIONS
from tests import reference
from tests.estimators.problems import TASKS, make_estimator, make_problem

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def assert_same_arrays(ours, theirs):
    for mine, its in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, its)


def unmoved(task, X, y, **parameters):
    """A model that training did not move: its weights are the initial ones."""
    arguments = {"hidden_layer_sizes": (6, 4), "max_iter": 1, "random_state": 0, **parameters}
    return make_estimator(task, learning_rate_init=1e-300, solver="sgd", **arguments).fit(X, y)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("rule", INITIALISATIONS)
def test_fit_starts_from_the_rule(rule, dtype):
    X, y, _ = make_problem("multiclass", dtype=dtype)
    model = unmoved("multiclass", X, y, weight_init=rule)
    rng = np.random.RandomState(0)
    expected = [reference.draw_weights(rule, *shape, rng) for shape in ((5, 6), (6, 4), (4, 3))]
    for weights, wanted in zip(model.coefs_, expected, strict=True):
        assert weights.dtype == dtype
        np.testing.assert_allclose(weights, wanted, rtol=1e-5 if dtype == np.float32 else 1e-14)
    assert max(float(np.abs(biases).max()) for biases in model.intercepts_) < 1e-300
    again = unmoved("multiclass", X, y, weight_init=rule)
    assert_same_arrays(again.coefs_, model.coefs_)
    other = unmoved("multiclass", X, y, weight_init=rule, random_state=1)
    assert np.abs(other.coefs_[0] - model.coefs_[0]).max() > 0.01


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("task", TASKS)
def test_given_weights_go_on_where_another_model_began(task, solver):
    X, y, weights = make_problem(task)
    arguments = {
        "hidden_layer_sizes": (6, 4), "max_iter": 6, "solver": solver, "shuffle": False,
        "random_state": 3,
    }  # fmt: skip
    initial = unmoved(task, X, y, random_state=3)
    given = ([W.copy() for W in initial.coefs_], [b.copy() for b in initial.intercepts_])
    copies = [array.copy() for arrays in given for array in arrays]
    expected = make_estimator(task, **arguments).fit(X, y, weights)
    model = make_estimator(task, weight_init=given, **arguments).fit(X, y, weights)
    assert_same_arrays(model.coefs_ + model.intercepts_, expected.coefs_ + expected.intercepts_)
    # Training does not change what was given: fitting again gives the same.
    assert_same_arrays(given[0] + given[1], copies)
    again = clone(model).fit(X, y, weights)
    assert_same_arrays(again.coefs_, model.coefs_)


def test_only_the_start_is_given():
    X, y, _ = make_problem("regression")
    arguments = {"hidden_layer_sizes": (6, 4), "random_state": 0, "weight_init": "he_normal"}
    model = make_estimator("regression", warm_start=True, max_iter=3, **arguments).fit(X, y)
    first = model.coefs_[0].copy()
    model.set_params(weight_init=([], [])).fit(X, y)  # goes on, whatever it says
    assert 0 < np.abs(model.coefs_[0] - first).max() < 0.1
    parts = make_estimator("regression", **arguments)
    parts.partial_fit(X, y).partial_fit(X, y)
    one = make_estimator("regression", max_iter=1, **arguments).fit(X, y)
    assert 0 < np.abs(parts.coefs_[0] - one.coefs_[0]).max() < 0.1


@pytest.mark.parametrize("task", TASKS)
def test_weights_that_do_not_suit(task):
    X, y, _ = make_problem(task)
    given = unmoved(task, X, y, hidden_layer_sizes=(6, 5))
    model = make_estimator(
        task, hidden_layer_sizes=(6, 4), weight_init=(given.coefs_, given.intercepts_)
    )
    with pytest.raises(
        ValueError, match=r"weights of layer 1 in weight_init must have shape \(6, 4\)"
    ):
        model.fit(X, y)
    assert not hasattr(model, "coefs_")


def test_search_over_rules():
    X, y, _ = make_problem("multiclass", n_samples=120)
    search = GridSearchCV(
        make_estimator("multiclass", hidden_layer_sizes=(8,), max_iter=10, random_state=0),
        {"weight_init": [None, *INITIALISATIONS]},
        cv=2,
    ).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert np.unique(scores).size > 1


def test_he_keeps_the_signal_of_deep_relu_networks():
    X = np.random.RandomState(0).normal(size=(200, 50))
    deep = {"hidden_layer_sizes": (50,) * 20, "activation": "relu"}
    sizes = {}
    for rule in (None, "he_normal", "lecun_normal"):
        model = unmoved("regression", X, X[:, 0], weight_init=rule, **deep)
        sizes[rule] = np.sqrt(np.mean(model.transform(X) ** 2))
    assert 0.3 < sizes["he_normal"] < 3
    assert sizes["lecun_normal"] < 0.01
