"""What scikit-learn does not have, trained by fastmlp and by the NumPy twin alike.

Activations, one of them per layer, slopes, output activations, the classifier's squared error.
"""

import numpy as np
import pytest

from fastmlp import MLPClassifier, MLPRegressor
from tests import reference
from tests.estimators.covering import covering_cases
from tests.estimators.problems import make_problem
from tests.estimators.test_parity import assert_close, case_id

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

HIDDEN_ACTIVATIONS = [name for name in reference.ACTIVATIONS if name != "exp"]
OPTIMIZERS = {
    "plain": ({"solver": "sgd", "momentum": 0}, reference.SGD, {}),
    "nesterov": ({"solver": "sgd"}, reference.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": ({"solver": "adam"}, reference.Adam, {}),
}
N_EPOCHS, BATCH_SIZE, ALPHA = 8, 16, 0.05


def assert_trains_as_the_twin(
    estimator_class, arguments, X, y, targets, loss, optimizer="adam", rtol=1e-7
):
    """Train both from the same weights, and compare all there is. Returns the estimator."""
    solver_arguments, optimizer_class, optimizer_arguments = OPTIMIZERS[optimizer]
    arguments = {
        "batch_size": BATCH_SIZE,
        "alpha": ALPHA,
        "shuffle": False,
        "random_state": 1,
        **solver_arguments,
        **arguments,
    }
    estimator = estimator_class(learning_rate_init=0.01, max_iter=N_EPOCHS, **arguments).fit(X, y)
    # The twin begins where the estimator began: a step so small does not move it.
    start = estimator_class(learning_rate_init=1e-300, max_iter=1, **arguments).fit(X, y)
    n_hidden = len(start.coefs_) - 1
    names, slopes = arguments["activation"], arguments.get("activation_slope")
    names = [names] * n_hidden if isinstance(names, str) else list(names)
    if isinstance(slopes, float):
        slopes = [slopes] * n_hidden
    twin = reference.Network(
        [W.copy() for W in start.coefs_],
        [b.copy() for b in start.intercepts_],
        names,
        estimator.out_activation_,
        slopes,
    )
    loss_curve = reference.train(
        twin,
        X,
        targets.astype(X.dtype),
        loss,
        optimizer_class(0.01, **optimizer_arguments),
        batch_size=BATCH_SIZE,
        n_epochs=N_EPOCHS,
        alpha=ALPHA,
    )
    assert_close(estimator.loss_curve_, loss_curve, rtol, "loss_curve_")
    for layer in range(n_hidden + 1):
        assert_close(estimator.coefs_[layer], twin.weights[layer], rtol, f"coefs_[{layer}]")
        assert_close(estimator.intercepts_[layer], twin.biases[layer], rtol, f"biases {layer}")
    for layer, name in enumerate(twin.layer_activations):
        if name == "prelu":
            assert_close(
                estimator.activation_slopes_[layer], twin.slopes[layer], rtol, f"slope {layer}"
            )
    outputs = (
        estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)
    )
    expected = reference.predict(twin, X)
    if estimator_class is MLPClassifier and y.ndim == 1 and estimator.out_activation_ == "logistic":
        # Several logistic outputs are scaled to be probabilities of one class each.
        expected = expected / (1 if expected.shape[1] == 1 else expected.sum(axis=1, keepdims=True))
    if outputs.ndim == 1:
        expected = expected[:, 0]
    elif expected.shape[1] == 1:
        expected = np.hstack([1 - expected, expected])
    assert_close(outputs, expected, rtol, "outputs")
    assert {array.dtype for array in [*estimator.coefs_, outputs]} == {X.dtype}
    return estimator


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
def test_activation(activation, optimizer, dtype):
    X, y, _ = make_problem("multiclass", dtype=dtype)
    targets = (y[:, np.newaxis] == np.unique(y)).astype(float)
    arguments = {"hidden_layer_sizes": (6, 5), "activation": activation}
    assert_trains_as_the_twin(
        MLPClassifier,
        arguments,
        X,
        y,
        targets,
        "log_loss",
        optimizer,
        rtol=1e-7 if dtype == np.float64 else 1e-3,
    )


@pytest.mark.filterwarnings("ignore::fastmlp.TrainingWarning")  # steps may learn nothing
@pytest.mark.parametrize(
    "case",
    covering_cases(
        {
            "first": HIDDEN_ACTIVATIONS,
            "second": HIDDEN_ACTIVATIONS,
            "optimizer": list(OPTIMIZERS),
        },
        strength=2,
    ),
    ids=case_id,
)
def test_one_activation_per_layer(case):
    X, y, _ = make_problem("multioutput")
    arguments = {
        "hidden_layer_sizes": (6, 4),
        "activation": (case["first"], case["second"]),
        "activation_slope": [0.4, 0.3],
    }
    assert_trains_as_the_twin(MLPRegressor, arguments, X, y, y, "squared_error", case["optimizer"])


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.5, -0.2])
@pytest.mark.parametrize("activation", ["leaky_relu", "prelu", "elu"])
def test_slope(activation, slope):
    X, y, _ = make_problem("regression")
    arguments = {"hidden_layer_sizes": (5,), "activation": activation, "activation_slope": slope}
    estimator = assert_trains_as_the_twin(
        MLPRegressor, arguments, X, y, y[:, np.newaxis], "squared_error"
    )
    # Only prelu learns its slope.
    assert hasattr(estimator, "activation_slopes_") == (activation == "prelu")
    if activation == "prelu":
        assert estimator.activation_slopes_[0] != slope


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "out_activation", [*(name for name in HIDDEN_ACTIVATIONS if name != "binary_step"), "softmax"]
)
def test_output_activation_with_squared_error(out_activation, optimizer):
    X, y, _ = make_problem("multioutput")
    arguments = {
        "hidden_layer_sizes": (6,),
        "activation": "tanh",
        "out_activation": out_activation,
    }
    estimator = assert_trains_as_the_twin(
        MLPRegressor, arguments, X, y, y, "squared_error", optimizer
    )
    assert estimator.out_activation_ == out_activation


@pytest.mark.parametrize(
    ("task", "out_activation"),
    [
        *[("binary", name) for name in (None, "logistic")],
        *[("multiclass", name) for name in (None, "logistic", "softmax")],
        *[("multilabel", name) for name in (None, "logistic")],
    ],
)
def test_classifier_with_squared_error(task, out_activation):
    X, y, _ = make_problem(task)
    if task == "binary":
        targets = (y == "yes").astype(float)[:, np.newaxis]
    elif task == "multiclass":
        targets = (y[:, np.newaxis] == np.unique(y)).astype(float)
    else:
        targets = y.astype(float)
    arguments = {
        "hidden_layer_sizes": (6,),
        "activation": "tanh",
        "loss": "squared_error",
        "out_activation": out_activation,
    }
    assert_trains_as_the_twin(MLPClassifier, arguments, X, y, targets, "squared_error")


@pytest.mark.parametrize(
    ("estimator", "target"),
    [
        (MLPClassifier(out_activation="identity"), [0, 1, 2]),
        (MLPClassifier(out_activation="relu"), [0, 1, 1]),
        (MLPRegressor(loss="poisson", out_activation="identity"), [0.0, 1.0, 2.0]),
    ],
)
def test_output_activation_that_the_loss_does_not_allow(estimator, target):
    with pytest.raises(ValueError, match="out_activation"):
        estimator.fit([[0.0], [1.0], [2.0]], target)


@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
def test_lbfgs_lowers_the_loss_of_every_activation(activation):
    X, y, _ = make_problem("regression")
    arguments = {
        "hidden_layer_sizes": (6,), "activation": activation, "solver": "lbfgs", "random_state": 0
    }  # fmt: skip
    losses = [MLPRegressor(max_iter=n, **arguments).fit(X, y).loss_ for n in (1, 30)]
    assert losses[1] < losses[0]
