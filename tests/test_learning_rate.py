"""The learning-rate finder."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, make_friedman1
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor, find_learning_rate
from fastmlp.learning_rate import _curve, _rows
from fastmlp.plots import LearningRateDisplay
from fastmlp.training.engine import Engine
from tests import reference
from tests.estimators.problems import TASKS, make_estimator, make_problem

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


def friedman():
    X, y = make_friedman1(2000, noise=0.3, random_state=0)
    return X, scale(y)


# --------------------------------------------------------------------------------------
# What it is for
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "adam"},
        {"solver": "sgd"},
        {"solver": "sgd", "momentum": 0, "batch_size": 32},
        {"solver": "adam", "hidden_layer_sizes": (64, 64, 64)},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
@pytest.mark.parametrize("load", [digits, cancer, friedman])
def test_suggestion_trains_well(load, settings):
    X, y = load()
    estimator = MLPRegressor if load is friedman else MLPClassifier
    model = estimator(max_iter=15, tol=0, n_iter_no_change=100, random_state=0, **settings)

    def loss_with(rate):
        return clone(model).set_params(learning_rate_init=rate).fit(X, y).loss_

    suggestion = find_learning_rate(model, X, y).suggestion
    loss = loss_with(suggestion)
    # Clearly better than a rate that is not found, and little can be won by a smaller one.
    assert loss < 0.75 * loss_with(1e-3)
    assert loss < loss_with(suggestion / 10)
    assert loss < 1.3 * loss_with(suggestion / 3)


# --------------------------------------------------------------------------------------
# What it does
# --------------------------------------------------------------------------------------


def test_losses_are_those_of_the_twin():
    X, y, _ = make_problem("multioutput", n_samples=100)
    model = MLPRegressor(
        hidden_layer_sizes=(6,), activation="tanh", solver="adam", alpha=0.05, batch_size=70,
        random_state=3,
    )  # fmt: skip
    curve = find_learning_rate(model, X, y, min_rate=1e-5, max_rate=0.1, n_rates=20)
    assert curve.rates.size == 20

    twin = reference.initialise([5, 6, 3], ["tanh"], "identity", np.random.RandomState(3))
    optimizer, draws, left = reference.Adam(), np.random.RandomState(3), np.empty(0, int)
    for rate, loss in zip(curve.rates, curve.losses, strict=True):
        if left.size < 70:
            left = np.concatenate([left, draws.permutation(100)])
        rows, left = left[:70], left[70:]
        expected, gradients = reference.backward(twin, X[rows], y[rows], "squared_error", 0.05)
        np.testing.assert_allclose(loss, expected, rtol=1e-9)
        optimizer.learning_rate_init = rate
        optimizer.step(twin.parameters, gradients)


@pytest.mark.parametrize("batch_size", ["auto", 1, 20, 64, 1000])
@pytest.mark.parametrize("task", TASKS)
def test_every_task_and_batch_size(task, batch_size):
    X, y, weights = make_problem(task, n_samples=150)
    model = make_estimator(
        task, hidden_layer_sizes=(8,), batch_size=batch_size, solver="sgd", random_state=0
    )
    curve = find_learning_rate(model, X, y, sample_weight=weights, n_rates=70)
    n_done = curve.rates.size
    assert curve.losses.shape == curve.smoothed_losses.shape == (n_done,)
    assert np.isfinite(curve.losses).all()
    np.testing.assert_allclose(curve.rates, np.geomspace(1e-6, 10, 70)[:n_done])
    assert 1e-5 < curve.suggestion < 10


def test_batches_go_through_all_samples():
    usable = np.array([1, 3, 4, 6, 7, 9, 10])
    parts = _rows(usable, 4, np.random.RandomState(0))
    drawn = np.concatenate([next(parts) for _ in range(7)])
    for first in range(0, 28, 7):
        assert sorted(drawn[first : first + 7]) == list(usable)


def test_it_repeats_and_leaves_the_estimator_alone():
    X, y, _ = make_problem("multiclass")
    model = MLPClassifier((5,), random_state=0, batch_size=10).fit(X, y)
    parameters, coefs = model.get_params(), [W.copy() for W in model.coefs_]
    curves = [find_learning_rate(model, X, y) for _ in range(2)]
    np.testing.assert_array_equal(curves[0].losses, curves[1].losses)
    assert model.get_params() == parameters
    for before, after in zip(coefs, model.coefs_, strict=True):
        np.testing.assert_array_equal(before, after)
    other = find_learning_rate(model, X, y, random_state=5)
    assert other.losses[0] != curves[0].losses[0]
    again = find_learning_rate(clone(model).set_params(random_state=1), X, y, random_state=5)
    np.testing.assert_array_equal(again.losses, other.losses)


def test_settings_that_would_end_the_training_are_set_aside(capsys):
    X, y, _ = make_problem("binary")
    model = MLPClassifier((5,), random_state=0)
    expected = find_learning_rate(model, X, y)
    busy = MLPClassifier(
        (5,), random_state=0, early_stopping=True, verbose=True, warm_start=True, max_iter=1,
        learning_rate="adaptive", learning_rate_init=5.0, tol=10, n_iter_no_change=1,
    )  # fmt: skip
    np.testing.assert_array_equal(find_learning_rate(busy, X, y).losses, expected.losses)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "adaptive"])
def test_every_schedule_starts_at_the_same_rates(learning_rate):
    X, y, _ = make_problem("binary")
    model = MLPClassifier((5,), solver="sgd", random_state=0)
    expected = find_learning_rate(model, X, y).losses
    model.set_params(learning_rate=learning_rate, power_t=2)
    np.testing.assert_array_equal(find_learning_rate(model, X, y).losses, expected)


def test_pipeline():
    X, y, _ = make_problem("multiclass")
    X = 1000 + 100 * X
    network = MLPClassifier((5,), random_state=0)
    pipeline = make_pipeline(StandardScaler(), PCA(3), network)
    found = find_learning_rate(pipeline, X, y)
    Z = clone(pipeline[:-1]).fit_transform(X)
    np.testing.assert_array_equal(found.losses, find_learning_rate(network, Z, y).losses)
    assert not hasattr(pipeline[0], "mean_")
    alone = find_learning_rate(make_pipeline(network), Z, y)
    np.testing.assert_array_equal(found.losses, alone.losses)


def test_containers():
    X, y, weights = make_problem("binary", n_samples=90)
    model = MLPClassifier((5,), random_state=0)
    expected = find_learning_rate(model, X, y, sample_weight=weights).losses
    frame = pd.DataFrame(X, columns=list("abcde"), index=range(500, 590))
    for inputs, targets, container in [
        (frame, pd.Series(y, index=frame.index), pd.Series(weights)),
        (X.tolist(), list(y), list(weights)),
        (sparse.csr_array(X), y, weights),
        (sparse.csr_matrix(X), y, weights),
    ]:
        losses = find_learning_rate(model, inputs, targets, sample_weight=container).losses
        np.testing.assert_allclose(losses, expected, rtol=1e-9)
    with pytest.warns(UserWarning, match="column-vector y was passed"):
        losses = find_learning_rate(model, X, y[:, np.newaxis], sample_weight=weights).losses
    np.testing.assert_array_equal(losses, expected)


def test_samples_without_weight_do_not_count():
    X, y, _ = make_problem("regression", n_samples=120)
    weights = np.r_[np.zeros(100), np.ones(20)]
    model = MLPRegressor(hidden_layer_sizes=(5,), batch_size=8, random_state=0)
    y_wild = np.r_[np.full(100, 1e6), y[100:]]
    losses = find_learning_rate(model, X, y_wild, sample_weight=weights).losses
    assert losses[0] < 10


def test_divergence_ends_it():
    X, y = friedman()
    model = MLPRegressor(solver="sgd", random_state=0)
    curve = find_learning_rate(model, X, 100 * y, max_rate=1e6)
    assert curve.rates.size < 140
    assert np.isfinite(curve.losses).all()
    # What diverged has no influence on what did not.
    assert np.abs(curve.smoothed_losses).max() < 10 * curve.losses[0]
    assert 1e-6 < curve.suggestion < 0.1


def test_nothing_to_learn():
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(500, 3)), np.zeros(500)
    model = MLPRegressor(hidden_layer_sizes=(), solver="sgd", alpha=0, random_state=0)
    curve = find_learning_rate(model, X, y, max_rate=1e-5)
    assert curve.suggestion is None
    assert "suggestion=None" in repr(curve)


def test_curve_of_known_shape():
    rates = np.geomspace(1e-6, 10, 701)
    position = np.log10(rates)
    losses = np.interp(position, [-6, -3, -2, -1, 0, 1], [2, 2, 1, 1, 3, 100])
    curve = _curve(rates, losses, 1.0)
    assert curve.suggestion == pytest.approx(10**-2.1, rel=0.05)
    assert curve.suggestion == float(f"{curve.suggestion:.2g}")
    np.testing.assert_allclose(curve.smoothed_losses[:250], 2)
    assert curve.smoothed_losses.max() <= 8
    assert repr(curve) == "LearningRateCurve(suggestion=0.0079, 701 rates from 1e-06 to 10)"
    assert _curve(rates, losses[::-1], 1.0).suggestion > 1e-6  # falls from the start


# --------------------------------------------------------------------------------------
# What it refuses
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_rate": 0}, "The 'min_rate' parameter of find_learning_rate must be a float in"),
        ({"min_rate": np.nan}, "The 'min_rate' parameter of find_learning_rate must be a float in"),
        ({"min_rate": "1"}, "The 'min_rate' parameter of find_learning_rate must be a float in"),
        ({"max_rate": np.inf}, "The 'max_rate' parameter of find_learning_rate must be a float in"),
        ({"min_rate": 10}, "min_rate must be less than max_rate, got 10 and 10.0."),
        ({"max_rate": 1e-7}, "min_rate must be less than max_rate, got 1e-06 and 1e-07."),
        ({"n_rates": 9}, "The 'n_rates' parameter of find_learning_rate must be an int in the ran"),
        ({"n_rates": 50.0}, "The 'n_rates' parameter of find_learning_rate must be an int in the "),
        ({"sample_weight": [1.0] * 5}, "inconsistent numbers of samples"),
        ({"sample_weight": -np.ones(60)}, "Negative values in data passed to `sample_weight`"),
        ({"random_state": "a"}, "cannot be used to seed"),
        ({"X": np.full((60, 5), np.nan)}, "Input X contains NaN"),
        ({"y": np.full(60, np.nan)}, "Input y contains NaN"),
        ({"y": np.zeros(59)}, "inconsistent numbers of samples"),
        (
            {"estimator": MLPRegressor(solver="lbfgs")},
            "solver='lbfgs' has no learning rate to find",
        ),
        ({"estimator": MLPRegressor(batch_size=0)}, "The 'batch_size' parameter of MLPRegressor"),
        ({"estimator": MLPRegressor(alpha=-1)}, "The 'alpha' parameter of MLPRegressor must be"),
        ({"estimator": MLPRegressor("huber?")}, "The 'loss' parameter of MLPRegressor must be"),
    ],
)
def test_bad_arguments(arguments, message):
    X, y, _ = make_problem("regression")
    arguments = {"estimator": MLPRegressor(random_state=0), "X": X, "y": y, **arguments}
    with pytest.raises(ValueError, match=re.escape(message)):
        find_learning_rate(
            arguments.pop("estimator"), arguments.pop("X"), arguments.pop("y"), **arguments
        )


@pytest.mark.parametrize(
    "estimator",
    [neural_network.MLPClassifier(), make_pipeline(StandardScaler(), PCA(2)), MLPClassifier, None],
)
def test_other_estimators_are_refused(estimator):
    X, y, _ = make_problem("binary")
    with pytest.raises(TypeError, match="must be an MLPClassifier or MLPRegressor of fastmlp"):
        find_learning_rate(estimator, X, y)


@pytest.mark.filterwarnings("ignore:Training interrupted")
def test_interrupt_is_passed_on(monkeypatch):
    X, y, _ = make_problem("regression")
    run_epoch, calls = Engine.run_epoch, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return run_epoch(self, *arguments)

    monkeypatch.setattr(Engine, "run_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        find_learning_rate(MLPRegressor(), X, y)
    assert len(calls) == 5


# --------------------------------------------------------------------------------------
# plot
# --------------------------------------------------------------------------------------


def test_plot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    X, y, _ = make_problem("multiclass")
    curve = find_learning_rate(MLPClassifier((5,), random_state=0), X, y)
    display = LearningRateDisplay.from_estimator(MLPClassifier((5,), random_state=0), X, y)
    np.testing.assert_array_equal(display.line_.get_ydata(), curve.smoothed_losses)
    assert display.figure_ is display.ax_.figure
    ax = LearningRateDisplay(curve=curve).plot().ax_
    batches, smoothed, mark = ax.get_lines()
    np.testing.assert_array_equal(batches.get_ydata(), curve.losses)
    np.testing.assert_array_equal(smoothed.get_xdata(), curve.rates)
    np.testing.assert_array_equal(smoothed.get_ydata(), curve.smoothed_losses)
    assert mark.get_xdata()[0] == curve.suggestion
    assert (ax.get_xscale(), ax.get_xlabel(), ax.get_ylabel()) == ("log", "learning rate", "loss")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["batches", "smoothed", f"suggestion, {curve.suggestion:g}"]
    low, high = ax.get_ylim()
    assert low < curve.smoothed_losses.min() < curve.losses[0] < high

    _, own = plt.subplots()
    flat = fastmlp.learning_rate.LearningRateCurve(curve.rates, curve.losses, curve.losses, None)
    assert LearningRateDisplay(curve=flat).plot(own, color="red", label="mine").ax_ is own
    assert len(own.get_lines()) == 2
    assert own.get_lines()[1].get_color() == "red"
    assert own.get_lines()[1].get_label() == "mine"
    plt.close("all")


def test_plot_without_matplotlib(monkeypatch):
    curve = _curve(np.geomspace(1e-3, 1, 20), np.linspace(2, 1, 20), 1.0)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'fastmlp[plots]'")):
        LearningRateDisplay(curve=curve).plot()


def test_matplotlib_is_imported_only_when_used():
    script = (
        "import sys, numpy as np\n"
        "from fastmlp import MLPRegressor, find_learning_rate\n"
        "X = np.linspace(-1, 1, 80).reshape(-1, 1)\n"
        "find_learning_rate(MLPRegressor(), X, X[:, 0])\n"
        "assert 'matplotlib' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
