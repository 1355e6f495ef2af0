"""The losses that scikit-learn's estimators lack, by the twin and by what they are for."""

import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import d2_pinball_score, mean_pinball_loss

from fastmlp import MLPClassifier, MLPRegressor
from tests import reference
from tests.estimators.problems import make_problem
from tests.estimators.test_beyond_sklearn import OPTIMIZERS, assert_trains_as_the_twin

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TARGETS = {
    "binary": lambda y: (y == "yes").astype(float)[:, np.newaxis],
    "multiclass": lambda y: (y[:, np.newaxis] == np.unique(y)).astype(float),
    "multilabel": lambda y: y.astype(float),
}
LEVELS = [0.1, 0.5, 0.8]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    ("loss", "parameter"),
    [("absolute_error", {}), ("huber", {"huber_delta": 0.4}), ("quantile", {"quantile": 0.8}),
     ("gamma", {})],
)  # fmt: skip
def test_regressor(loss, parameter, optimizer, dtype, monkeypatch):
    for value in parameter.values():
        monkeypatch.setitem(reference.LOSS_PARAMETERS, loss, value)
    X, y, _ = make_problem("multioutput", dtype=dtype)
    y = np.exp(y) if loss == "gamma" else y
    arguments = {"hidden_layer_sizes": (6,), "activation": "tanh", "loss": loss, **parameter}
    assert_trains_as_the_twin(
        MLPRegressor,
        arguments,
        X,
        y,
        y,
        loss,
        optimizer,
        rtol=1e-7 if dtype == np.float64 else 3e-3,
    )


@pytest.mark.parametrize("gamma", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("task", TARGETS)
def test_focal(task, gamma, monkeypatch):
    monkeypatch.setitem(reference.LOSS_PARAMETERS, "focal", gamma)
    X, y, _ = make_problem(task)
    arguments = {
        "hidden_layer_sizes": (6,), "activation": "tanh", "loss": "focal", "focal_gamma": gamma
    }  # fmt: skip
    assert_trains_as_the_twin(MLPClassifier, arguments, X, y, TARGETS[task](y), "focal")


@pytest.mark.parametrize("amount", [0.1, 0.6])
@pytest.mark.parametrize("task", TARGETS)
def test_label_smoothing(task, amount):
    X, y, _ = make_problem(task)
    output = "softmax" if task == "multiclass" else "logistic"
    targets = reference.smoothed(TARGETS[task](y), output, amount)
    arguments = {"hidden_layer_sizes": (6,), "activation": "tanh", "label_smoothing": amount}
    assert_trains_as_the_twin(MLPClassifier, arguments, X, y, targets, "log_loss")


@pytest.mark.parametrize("loss", ["focal", "squared_error"])
def test_label_smoothing_is_for_log_loss(loss):
    model = MLPClassifier(loss=loss, label_smoothing=0.1)
    with pytest.raises(
        ValueError, match=f"label_smoothing=0.1 cannot be combined with loss='{loss}"
    ):
        model.fit([[0.0], [1.0]], [0, 1])


def heteroscedastic(n_samples=600):
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, size=(n_samples, 1))
    return X, X[:, 0] + (1 + X[:, 0]) * rng.normal(size=n_samples)


def quantile_model(quantile, **options):
    return MLPRegressor(
        loss="quantile", quantile=quantile, hidden_layer_sizes=(), learning_rate_init=0.02,
        max_iter=150, alpha=0, random_state=0, **options,
    )  # fmt: skip


def test_several_quantiles_are_those_of_single_models():
    X, y = heteroscedastic()
    start = [np.array([[0.1, 0.2, 0.3]])], [np.array([-0.5, 0.0, 0.5])]
    together = quantile_model(LEVELS, weight_init=start).fit(X, y)
    assert together.n_outputs_ == 3
    for k, level in enumerate(LEVELS):
        own = [start[0][0][:, [k]]], [start[1][0][[k]]]
        alone = quantile_model(level, weight_init=own)
        # It would stop at an epoch of its own.
        alone.set_params(max_iter=together.n_iter_, n_iter_no_change=1000).fit(X, y)
        np.testing.assert_allclose(together.coefs_[0][:, k], alone.coefs_[0][:, 0], rtol=1e-9)
        np.testing.assert_allclose(together.intercepts_[0][k], alone.intercepts_[0][0], rtol=1e-9)


def test_several_quantiles_cover_their_shares_in_order():
    X, y = heteroscedastic()
    model = quantile_model(LEVELS).fit(X, y)
    predicted = model.predict(X)
    assert predicted.shape == (600, 3)
    assert (np.diff(predicted, axis=1) >= 0).all()
    np.testing.assert_allclose((y[:, np.newaxis] <= predicted).mean(axis=0), LEVELS, atol=0.03)
    one = model.predict(X[:1])
    np.testing.assert_allclose(one, predicted[:1])
    expected = [d2_pinball_score(y, predicted[:, k], alpha=q) for k, q in enumerate(LEVELS)]
    assert model.score(X, y) == pytest.approx(np.mean(expected))
    assert clone(model).fit(X, y).score(X, y) == model.score(X, y)
    assert model.input_gradients(X[:4], y=y[:4]).shape == (4, 1)


def test_quantiles_that_cross_are_sorted():
    start = [np.array([[1.0, -1.0]])], [np.zeros(2)]
    model = quantile_model([0.4, 0.6], weight_init=start)
    model.set_params(max_iter=1, learning_rate_init=1e-12).fit([[1.0], [2.0]], [0.0, 0.0])
    np.testing.assert_allclose(model.predict([[1.0], [-2.0]]), [[-1, 1], [-2, 2]], atol=1e-9)


def test_quantiles_go_on_and_stop_early():
    X, y = heteroscedastic()
    model = quantile_model(LEVELS, early_stopping=True).fit(X, y)
    assert max(model.validation_scores_) == model.best_validation_score_ > 0
    model = quantile_model(LEVELS).partial_fit(X, y).partial_fit(X, y)
    with pytest.raises(ValueError, match="warm_start and partial_fit go on with the network"):
        model.set_params(quantile=[0.1, 0.9]).partial_fit(X, y)


def test_quantile_is_scored_by_its_own_loss():
    X, y = heteroscedastic()
    model = quantile_model(0.9).fit(X, y)
    assert model.predict(X).shape == (600,)
    expected = 1 - mean_pinball_loss(y, model.predict(X), alpha=0.9) / mean_pinball_loss(
        y, np.full(600, np.quantile(y, 0.9)), alpha=0.9
    )
    assert model.score(X, y) == pytest.approx(expected, rel=1e-9)


def test_several_quantiles_need_one_output():
    with pytest.raises(ValueError, match="y must have one output where quantile has 2 elements"):
        quantile_model([0.2, 0.4]).fit([[0.0], [1.0]], [[0.0, 1.0], [1.0, 2.0]])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "quantile must be a float in the range (0.0, 1.0), or an array-like of such numbers"),
        ([0.5, 1.0], "quantile must be a float in the range (0.0, 1.0)"),
        ([0.5, "a"], "quantile must be a float in the range (0.0, 1.0)"),
        ([[0.5, 0.7]], "quantile must be a float in the range (0.0, 1.0)"),
        ([0.5, float("nan")], "quantile must be a float in the range (0.0, 1.0)"),
        ([0.7, 0.2], "quantile must be in increasing order, got [0.7, 0.2]"),
        ([0.2, 0.2], "quantile must be in increasing order"),
    ],
)
def test_bad_quantiles(value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        quantile_model(value).fit([[0.0], [1.0]], [0.0, 1.0])


def test_robust_losses_bear_outliers():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(300, 1))
    y = 2 * X[:, 0]
    y[:20] += 500
    errors = {}
    for loss in ("absolute_error", "huber", "squared_error"):
        model = MLPRegressor(loss, (), learning_rate_init=0.05, max_iter=200, random_state=0)
        errors[loss] = np.abs(model.fit(X, y).predict(X) - 2 * X[:, 0]).max()
    assert max(errors["absolute_error"], errors["huber"]) < 0.5 < 5 < errors["squared_error"]


@pytest.mark.parametrize("y", [[1.0, 0.0, 2.0], [1.0, -1.0, 2.0]])
def test_gamma_needs_positive_targets(y):
    with pytest.raises(ValueError, match="out of the valid range of the loss 'gamma'"):
        MLPRegressor("gamma").fit([[0.0], [1.0], [2.0]], y)


def test_gamma_needs_its_output_activation():
    with pytest.raises(ValueError, match="out_activation='identity' cannot be combined"):
        MLPRegressor("gamma", out_activation="identity").fit([[0.0], [1.0]], [1.0, 2.0])


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "quantile", "gamma"])
def test_lbfgs(loss):
    X, y, _ = make_problem("multioutput")
    losses = [
        MLPRegressor(loss, (6,), solver="lbfgs", max_iter=n, random_state=0).fit(X, np.exp(y)).loss_
        for n in (1, 30)
    ]
    assert losses[1] < losses[0]


@pytest.mark.parametrize("loss", ["absolute_error", "focal"])
def test_scikit_learn_does_not_know_them(loss):
    model = MLPClassifier(loss=loss) if loss == "focal" else MLPRegressor(loss=loss)
    with pytest.raises(ValueError, match="loss"):
        model.to_sklearn()
