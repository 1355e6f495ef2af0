"""Learning-rate schedules, warm-up and the time limit, as the estimators have them.

A fit whose rates change is compared with the NumPy twin that is given those very rates.
"""

import math
import pickle
import time
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from fastmlp import MLPClassifier, MLPRegressor
from tests import reference
from tests.estimators.problems import make_problem

N_SAMPLES, N_EPOCHS, RATE = 60, 6, 0.02

OPTIMIZERS = {
    "plain": ({"solver": "sgd", "momentum": 0}, reference.SGD, {}),
    "nesterov": ({"solver": "sgd"}, reference.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": ({"solver": "adam"}, reference.Adam, {}),
}


def half_cosine(step, n_steps):
    return RATE * (1 + math.cos(math.pi * step / n_steps)) / 2


def stairs(step, n_steps):
    return RATE * (1 if step < n_steps / 2 else 0.1 if step < 3 * n_steps / 4 else 0.01)


def inverse_root(step, n_steps=None):
    return 0.05 / math.sqrt(step + 1)


def constant(step, n_steps):
    return RATE


def behind_rise(function, n_rise, takes_steps):
    """Put a rise of some steps, or of a share of them, before a function; a plan loses them."""

    def rate(step, n_steps):
        n = n_rise if n_rise >= 1 else round(n_rise * n_steps)
        rest = function(max(step - n, 0), n_steps - n) if takes_steps else function(step, n_steps)
        return rest * min(1, (step + 1) / n)

    return rate


# Parameters, and the rate as a function of the step and of the number of steps.
SCHEDULES = {
    "cosine": ({"learning_rate": "cosine"}, half_cosine),
    "step": ({"learning_rate": "step"}, stairs),
    "callable": ({"learning_rate": inverse_root}, inverse_root),
    "warm callable": (
        {"learning_rate": inverse_root, "warmup_steps": 5},
        behind_rise(inverse_root, 5, False),
    ),
    "warm constant": ({"warmup_steps": 9}, behind_rise(constant, 9, False)),
    "warm cosine": (
        {"learning_rate": "cosine", "warmup_steps": 5},
        behind_rise(half_cosine, 5, True),
    ),
    "warm step": (
        {"learning_rate": "step", "warmup_steps": 0.25},
        behind_rise(stairs, 0.25, True),
    ),
}


def with_rates(optimizer_class, function, n_steps):
    """The twin's optimizer, which is told the rate of each step."""

    class WithRates(optimizer_class):
        n_taken = 0

        def step(self, parameters, gradients):
            self.learning_rate = self.learning_rate_init = function(self.n_taken, n_steps)
            self.n_taken += 1
            super().step(parameters, gradients)

    return WithRates


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("batch_size", [1, 16, N_SAMPLES])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_trajectory_is_the_twins(name, optimizer, batch_size):
    X, y, _ = make_problem("regression")
    parameters, function = SCHEDULES[name]
    solver, optimizer_class, optimizer_arguments = OPTIMIZERS[optimizer]
    model = MLPRegressor(
        hidden_layer_sizes=(5,), activation="tanh", **solver, **parameters,
        learning_rate_init=RATE, batch_size=batch_size, max_iter=N_EPOCHS, alpha=0.05,
        shuffle=False, random_state=1,
    )  # fmt: skip
    # The twin begins where the estimator began: a step so small does not move it.
    start = clone(model).set_params(learning_rate=lambda step: 1e-300, warmup_steps=0, max_iter=1)
    start.fit(X, y)
    twin = reference.Network(
        [W.copy() for W in start.coefs_], [b.copy() for b in start.intercepts_], ["tanh"],
        "identity", None,
    )  # fmt: skip
    n_steps = N_EPOCHS * math.ceil(N_SAMPLES / batch_size)
    loss_curve = reference.train(
        twin, X, y[:, np.newaxis], "squared_error",
        with_rates(optimizer_class, function, n_steps)(**optimizer_arguments),
        batch_size=batch_size, n_epochs=N_EPOCHS, alpha=0.05,
    )  # fmt: skip
    model.fit(X, y)
    np.testing.assert_allclose(model.loss_curve_, loss_curve, rtol=1e-8)
    for ours, theirs in zip(model.coefs_, twin.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-10)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_one_cycle_is_its_own_callable(solver):
    X, y, _ = make_problem("multiclass")
    n_steps = 5 * 4

    def one_cycle(step):
        turn = 0.3 * n_steps - 1
        begin, end, share = (
            (RATE / 25, RATE, step / turn)
            if step <= turn
            else (RATE, RATE / 25e4, (step - turn) / (n_steps - 1 - turn))
        )
        return end + (begin - end) * (1 + math.cos(math.pi * share)) / 2

    models = [
        MLPClassifier(
            (5,), solver=solver, learning_rate=learning_rate, learning_rate_init=RATE,
            batch_size=16, max_iter=5, random_state=0,
        ).fit(X, y)
        for learning_rate in ("one_cycle", one_cycle)
    ]  # fmt: skip
    np.testing.assert_allclose(models[0].coefs_[0], models[1].coefs_[0], rtol=1e-9)


@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "adaptive"])
def test_adam_ignores_the_schedules_that_it_ignores_in_sklearn(learning_rate):
    X, y, _ = make_problem("regression")
    model = MLPRegressor(solver="adam", learning_rate=learning_rate, random_state=0, max_iter=3)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    with pytest.warns(ConvergenceWarning):
        expected = MLPRegressor(random_state=0, max_iter=3).fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])


@pytest.mark.parametrize("learning_rate", ["cosine", "one_cycle", "step"])
def test_plan_that_ran_to_its_end_is_no_reason_to_warn(learning_rate):
    X, y, _ = make_problem("binary")
    model = MLPClassifier(learning_rate=learning_rate, max_iter=5, random_state=0).fit(X, y)
    assert (model.n_iter_, model.stop_reason_) == (5, "max_iter")
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(5\) reached"):
        MLPClassifier(learning_rate=lambda step: 0.01, max_iter=5, random_state=0).fit(X, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_fit_begins_the_schedule_anew_and_partial_fit_goes_on():
    X, y, _ = make_problem("regression")
    steps = []

    def rate(step):
        steps.append(step)
        return 0.01

    model = MLPRegressor(learning_rate=rate, batch_size=30, max_iter=2, warm_start=True)
    model.fit(X, y).fit(X, y)
    assert steps == [0, 1, 2, 3] * 2
    steps.clear()
    model = MLPRegressor(learning_rate=rate, batch_size=30, warmup_steps=3, solver="sgd")
    for _ in range(3):
        model.partial_fit(X, y)
    assert steps == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "parameters", [{"learning_rate": inverse_root}, {"warmup_steps": 5}, {"warmup_steps": 50}]
)
def test_pickled_model_goes_on_at_the_same_step(parameters):
    X, y, _ = make_problem("regression")
    model = MLPRegressor(**parameters, batch_size=30, shuffle=False).partial_fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    for other in (model, copy):
        other.partial_fit(X, y).partial_fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], copy.coefs_[0])


def test_warm_up_of_partial_fit_counts_over_all_calls():
    X, y, _ = make_problem("regression")
    arguments = {"batch_size": 30, "shuffle": False, "random_state": 0}
    warm = MLPRegressor(warmup_steps=4, learning_rate_init=0.04, **arguments)
    expected = MLPRegressor(learning_rate=lambda step: 0.01 * min(step + 1, 4), **arguments)
    for _ in range(3):
        warm.partial_fit(X, y)
        expected.partial_fit(X, y)
    np.testing.assert_allclose(warm.coefs_[0], expected.coefs_[0], rtol=1e-10)


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"solver": "lbfgs", "learning_rate": "cosine"}, "learning_rate='cosine' needs a stoch"),
        ({"solver": "lbfgs", "learning_rate": inverse_root}, "needs a stochastic solver"),
        ({"solver": "lbfgs", "warmup_steps": 5}, "warmup_steps=5 needs a stochastic solver"),
        (
            {"learning_rate": "one_cycle", "warmup_steps": 0.1},
            "warmup_steps=0.1 cannot be combined with learning_rate='one_cycle'",
        ),
        (
            {"learning_rate": "cosine", "warmup_steps": 99, "max_iter": 3},
            "warmup_steps=99 leaves no step to learning_rate='cosine': this fit has 3 in all",
        ),
        ({"learning_rate": lambda step: -1}, "learning_rate must return .* got -1 for step 0"),
        ({"learning_rate": lambda step: None}, "learning_rate must return .* got None for step 0"),
    ],
)
def test_clash(parameters, match):
    X, y, _ = make_problem("regression")
    with pytest.raises(ValueError, match=match):
        MLPRegressor(**parameters).fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        *[
            ({"learning_rate": name}, f"partial_fit does not support learning_rate='{name}'")
            for name in ("cosine", "one_cycle", "step")
        ],
        ({"warmup_steps": 0.1}, "partial_fit does not support warmup_steps=0.1, a share"),
        ({"early_stopping": True}, "^partial_fit does not support early_stopping=True$"),
    ],
)
def test_clash_with_partial_fit(parameters, match):
    X, y, _ = make_problem("regression")
    with pytest.raises(ValueError, match=match):
        MLPRegressor(**parameters).partial_fit(X, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_schedules_are_searched():
    X, y, _ = make_problem("binary")
    grid = {"learning_rate": ["constant", "cosine", "one_cycle", inverse_root]}
    search = GridSearchCV(
        MLPClassifier(max_iter=3, random_state=0), grid, cv=2, error_score="raise"
    )
    assert np.isfinite(search.fit(X, y).cv_results_["mean_test_score"]).all()


# --------------------------------------------------------------------------------------
# Time limit
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_time_limit(solver):
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(2000, 20)), rng.normal(size=2000)
    model = MLPRegressor(
        hidden_layer_sizes=(50, 50), solver=solver, max_iter=1, max_fun=10**9, tol=0,
        n_iter_no_change=np.inf, learning_rate_init=1e-4, time_limit=1e-9, random_state=0,
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning):  # load compiled code; and all epochs were done
        assert model.fit(X, y).stop_reason_ == "max_iter"
    model.set_params(max_iter=10**6, time_limit=0.3)
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y)
    assert 0.3 <= time.perf_counter() - started < 3
    assert model.stop_reason_ == "time_limit"
    assert 1 < model.n_iter_ < 10**6
    assert np.isfinite(model.predict(X)).all()


def test_time_limit_runs_at_least_one_epoch_and_restores_the_best():
    X, y, _ = make_problem("binary")
    model = MLPClassifier(time_limit=1e-9, early_stopping=True, random_state=0).fit(X, y)
    assert model.n_iter_ == 1
    expected = MLPClassifier(max_iter=1, early_stopping=True, random_state=0)
    with pytest.warns(ConvergenceWarning):
        expected.fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])


def test_time_limit_is_no_matter_for_partial_fit():
    X, y, _ = make_problem("regression")
    assert MLPRegressor(time_limit=1e-9).partial_fit(X, y).n_iter_ == 1


# --------------------------------------------------------------------------------------
# Why training ended
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_stop_reason(solver):
    X, y, _ = make_problem("regression")
    model = MLPRegressor(hidden_layer_sizes=(), solver=solver, random_state=0, max_iter=2)
    with pytest.warns(ConvergenceWarning):
        assert model.fit(X, y).stop_reason_ == "max_iter"
    assert model.set_params(max_iter=1000, tol=0.1).fit(X, y).stop_reason_ == "converged"
    with pytest.raises(ValueError, match="non-finite"):
        model.fit(1e200 * X, 1e200 * y)
    assert model.stop_reason_ == "diverged"
