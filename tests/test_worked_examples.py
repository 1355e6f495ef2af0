"""The worked examples of the course that fastmlp grew from, by its public classes.

Weights are written into ``coefs_`` and ``intercepts_`` in place, as a reader of the slides would
copy them; a step of gradient descent is a ``partial_fit`` with ``solver="sgd"``, no momentum.
"""

import math

import numpy as np
import pytest

from fastmlp import MLPClassifier, MLPRegressor
from tests import reference

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

PLAIN_DESCENT = {"solver": "sgd", "momentum": 0, "alpha": 0, "shuffle": False}


def set_weights(estimator, weights, biases):
    """Write weights and biases into a network that has seen its first sample."""
    for view, values in zip(
        [*estimator.coefs_, *estimator.intercepts_], [*weights, *biases], strict=True
    ):
        view[...] = values
    return estimator


# --------------------------------------------------------------------------------------
# 1. Gradient descent on theta^2
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("learning_rate", "thetas"),
    [
        (0.1, [-3.2, -2.56, -2.048]),
        (1.5, [8, -16, 32]),
        (0.01, [-3.92, -3.8416, -3.764768]),
    ],
)
def test_gradient_descent_on_a_parabola(learning_rate, thetas):
    # A linear model without hidden layer, whose mean of (theta x - 0)^2 / 2 over these two samples
    # is theta^2. They lie on both sides of zero, so the bias has no slope and stays at 0.
    X, y = [[math.sqrt(2)], [-math.sqrt(2)]], [0.0, 0.0]
    model = MLPRegressor(hidden_layer_sizes=(), learning_rate_init=learning_rate, **PLAIN_DESCENT)
    set_weights(model.partial_fit(X, y), [[[-4.0]]], [[0.0]])

    theta = -4.0
    for expected in thetas:
        model.partial_fit(X, y)
        assert model.loss_ == pytest.approx(theta**2, rel=1e-14)
        theta = model.coefs_[0].item()
        assert theta == pytest.approx(expected, rel=1e-14)
    assert model.intercepts_[0] == 0


# --------------------------------------------------------------------------------------
# 2. Activations and their derivatives
# --------------------------------------------------------------------------------------


def logistic(x):
    return 1 / (1 + math.exp(-x))


# name: (slope, function, derivative), as on the slides
SLIDES = {
    "identity": (None, lambda x: x, lambda x: 1),
    "binary_step": (None, lambda x: 1 if x >= 0 else 0, lambda x: 0),
    "logistic": (None, logistic, lambda x: logistic(x) * (1 - logistic(x))),
    "tanh": (None, math.tanh, lambda x: 1 - math.tanh(x) ** 2),
    "arctan": (None, math.atan, lambda x: 1 / (x**2 + 1)),
    "relu": (None, lambda x: max(0, x), lambda x: 1 if x > 0 else 0),
    "prelu": (0.2, lambda x: x if x > 0 else 0.2 * x, lambda x: 1 if x > 0 else 0.2),
    "elu": (
        0.7,
        lambda x: x if x > 0 else 0.7 * (math.exp(x) - 1),
        # f(x) + alpha below zero
        lambda x: 1 if x > 0 else 0.7 * (math.exp(x) - 1) + 0.7,
    ),
    "softplus": (None, lambda x: math.log(1 + math.exp(x)), logistic),
}


@pytest.mark.parametrize("x", [-2.5, -1.0, -0.3, 0.2, 1.0, 3.0])
@pytest.mark.parametrize("name", SLIDES)
def test_activations_and_derivatives(name, x):
    slope, function, derivative = SLIDES[name]
    # One hidden unit between weights of 1: the prediction is the activation. (So small a first step
    # only builds the network; it leaves the slope of prelu, which is learned, as it was given.)
    model = MLPRegressor(
        hidden_layer_sizes=(1,),
        activation=name,
        activation_slope=slope,
        learning_rate_init=1e-300,
        max_iter=1,
        warm_start=True,
        **PLAIN_DESCENT,
    ).fit([[x]], [0.0])
    set_weights(model, [[[1.0]], [[1.0]]], [[0.0], [0.0]])
    assert model.predict([[x]]).item() == pytest.approx(function(x), rel=1e-12)

    # With an error of exactly 1 at the output, a step moves the hidden bias by the derivative.
    model.set_params(learning_rate_init=1).fit([[x]], [function(x) - 1])
    assert model.intercepts_[0].item() == pytest.approx(-derivative(x), rel=1e-9, abs=1e-12)


# --------------------------------------------------------------------------------------
# 3. Output activation and loss, by kind of problem
# --------------------------------------------------------------------------------------


def loss_of_one_sample(model, y):
    """The loss at the current weights: what a step reports is the loss before it."""
    return model.partial_fit([[1.0]], [y]).loss_


def test_a_number_linear_output_and_squared_error():
    model = MLPRegressor(hidden_layer_sizes=(), **PLAIN_DESCENT).partial_fit([[1.0]], [0.0])
    set_weights(model, [[[1.5]]], [[0.25]])
    assert model.predict([[1.0]]).item() == 1.75
    # Half the squared error, as in scikit-learn: its derivative is plainly "output minus target".
    assert loss_of_one_sample(model, 2.0) == pytest.approx(0.5 * 0.25**2)


@pytest.mark.parametrize(("label", "loss"), [(1, -math.log(0.8)), (0, -math.log(0.2))])
def test_a_confidence_sigmoid_output_and_binary_cross_entropy(label, loss):
    model = MLPClassifier(hidden_layer_sizes=(), **PLAIN_DESCENT)
    model.partial_fit([[1.0]], [0], classes=[0, 1])
    set_weights(model, [[[0.0]]], [[math.log(4)]])
    assert model.out_activation_ == "logistic"
    assert model.predict_proba([[1.0]]) == pytest.approx(np.array([[0.2, 0.8]]))
    assert loss_of_one_sample(model, label) == pytest.approx(loss)


@pytest.mark.parametrize(
    ("logits", "probabilities", "digits"),
    [((0.8, 1.2, 3.1), (0.08, 0.12, 0.80), 2), ((2.0, 1.0, 0.1), (0.7, 0.2, 0.1), 1)],
)
@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_distribution_softmax_output_and_cross_entropy(logits, probabilities, digits, label):
    model = MLPClassifier(hidden_layer_sizes=(), **PLAIN_DESCENT)
    model.partial_fit([[1.0]], [0], classes=[0, 1, 2])
    set_weights(model, [[[0.0, 0.0, 0.0]]], [logits])
    assert model.out_activation_ == "softmax"
    p = model.predict_proba([[1.0]])[0]
    assert np.round(p, digits).tolist() == list(probabilities)
    assert loss_of_one_sample(model, label) == pytest.approx(-math.log(p[label]))


# --------------------------------------------------------------------------------------
# 4. One network by hand
# --------------------------------------------------------------------------------------

X_4, T_4 = [[0.05, 0.10]], [[0.01, 0.99]]
# Each column holds the weights into one unit: w1 and w2 go into h1, w5 and w6 into o1.
WEIGHTS_4 = [[[0.15, 0.25], [0.20, 0.30]], [[0.40, 0.50], [0.45, 0.55]]]
BIASES_4 = [0.35, 0.60]


@pytest.fixture
def network_by_hand():
    model = MLPRegressor(
        hidden_layer_sizes=(2,),
        activation="logistic",
        out_activation="logistic",
        learning_rate_init=0.5,
        **PLAIN_DESCENT,
    ).partial_fit(X_4, T_4)
    return set_weights(model, WEIGHTS_4, BIASES_4)


def step_4(model):
    """One step on the weights alone: the biases are put back. Returns E before the step."""
    model.partial_fit(X_4, T_4)
    for view, bias in zip(model.intercepts_, BIASES_4, strict=True):
        view[...] = bias
    # E sums over the two outputs, scikit-learn's loss averages over them.
    return 2 * model.loss_


def test_one_network_by_hand(network_by_hand):
    model = network_by_hand
    np.testing.assert_allclose(model.predict(X_4), [[0.75136507, 0.772928465]], rtol=0, atol=5e-9)
    assert step_4(model) == pytest.approx(0.298371109, abs=5e-10)
    hidden, output = model.coefs_
    np.testing.assert_allclose(
        output.T.ravel(), [0.35891648, 0.408666186, 0.511301270, 0.561370121], rtol=0, atol=5e-9
    )
    np.testing.assert_allclose(
        hidden.T.ravel(), [0.149780716, 0.19956143, 0.24975114, 0.29950229], rtol=0, atol=5e-9
    )
    assert step_4(model) == pytest.approx(0.291027774, abs=5e-10)


def test_one_network_by_hand_inside():
    # A network that ends at the hidden layer shows what goes in and comes out there.
    for out_activation, expected, digits in [
        ("identity", [0.3775, 0.3925], 1e-12),
        ("logistic", [0.593269992, 0.596884378], 5e-10),
    ]:
        model = MLPRegressor(
            hidden_layer_sizes=(), out_activation=out_activation, **PLAIN_DESCENT
        ).partial_fit(X_4, [[0.0, 0.0]])
        set_weights(model, WEIGHTS_4[:1], BIASES_4[:1])
        np.testing.assert_allclose(model.predict(X_4)[0], expected, rtol=0, atol=digits)


def test_one_network_by_hand_for_ten_thousand_steps(network_by_hand):
    model = network_by_hand
    for _ in range(10_000):
        step_4(model)
    np.testing.assert_allclose(model.predict(X_4), [[0.015914, 0.984064]], rtol=0, atol=5e-7)
    assert step_4(model) == pytest.approx(3.5102e-5, abs=5e-10)


# --------------------------------------------------------------------------------------
# 5. A different activation in each layer
# --------------------------------------------------------------------------------------

X_5 = [[0.1, 0.2, 0.7]]
W_IJ = [[0.1, 0.2, 0.3], [0.3, 0.2, 0.7], [0.4, 0.3, 0.9]]
W_JK = [[0.2, 0.3, 0.5], [0.3, 0.5, 0.7], [0.6, 0.4, 0.8]]
W_KL = [[0.1, 0.4, 0.8], [0.3, 0.7, 0.2], [0.5, 0.2, 0.9]]


@pytest.mark.parametrize(
    ("weights", "activation", "out_activation", "expected", "digits"),
    [
        ([W_IJ], "relu", "relu", [1.35, 1.27, 1.8], 1e-12),
        ([W_IJ, W_JK], "relu", "identity", [2.731, 2.760, 4.004], 1e-12),
        ([W_IJ, W_JK], "relu", "logistic", [0.9388, 0.9405, 0.9821], 5e-5),
        ([W_IJ, W_JK, W_KL], ("relu", "logistic"), "identity", [1.8671, 2.2303, 2.8230], 5e-5),
    ],
    ids=["h1", "into_h2", "h2", "logits"],
)
def test_layers_of_different_activations(weights, activation, out_activation, expected, digits):
    model = MLPRegressor(
        hidden_layer_sizes=(3,) * (len(weights) - 1),
        activation=activation,
        out_activation=out_activation,
        **PLAIN_DESCENT,
    ).partial_fit(X_5, [[0.0, 0.0, 0.0]])
    set_weights(model, weights, [1.0] * len(weights))
    np.testing.assert_allclose(model.predict(X_5)[0], expected, rtol=0, atol=digits)


def test_softmax_and_cross_entropy_on_top_of_them():
    model = MLPClassifier(
        hidden_layer_sizes=(3, 3), activation=("relu", "logistic"), **PLAIN_DESCENT
    ).partial_fit(X_5, [0], classes=[0, 1, 2])
    set_weights(model, [W_IJ, W_JK, W_KL], [1.0] * 3)

    p = model.predict_proba(X_5)[0]
    np.testing.assert_allclose(p, [0.1984, 0.2854, 0.5162], rtol=0, atol=5e-5)
    # The slides also add up binary cross-entropies over the softmax outputs.
    binary = -math.log(p[0]) - math.log(1 - p[1]) - math.log(1 - p[2])
    assert binary == pytest.approx(2.6793, abs=5e-5)

    model.partial_fit(X_5, [0])
    assert model.loss_ == pytest.approx(1.6172, abs=5e-5)


def test_slips_of_the_slides():
    # The printed outputs are not the softmax of the printed logits ...
    softmax = reference.softmax(np.array([[1.8658, 2.2292, 2.8204]]))[0]
    assert np.abs(softmax - [0.2698, 0.3223, 0.4078]).max() > 0.05
    # ... and the printed loss, about 0.97, has logarithms to base 10.
    in_base_10 = -math.log10(0.2698) - math.log10(1 - 0.3223) - math.log10(1 - 0.4078)
    assert in_base_10 == pytest.approx(0.9655, abs=5e-5)


# --------------------------------------------------------------------------------------
# 6. Batch, mini-batch, stochastic
# --------------------------------------------------------------------------------------

N_6, EPOCHS_6 = 12, 40
X_6 = np.linspace(-1, 1, N_6)[:, np.newaxis]
NOISE_6 = np.array([0.3, -0.2, 0.1, -0.3, 0.2, 0.1, -0.1, -0.2, 0.3, -0.1, 0.2, -0.3])
Y_6 = 2 * X_6[:, 0] + 1 + NOISE_6
BATCH_SIZES = {"batch": N_6, "mini-batch": 4, "stochastic": 1}


def line_through_the_noise(batch_size):
    """A straight line, starting at weight 0 and bias 0."""
    model = MLPRegressor(
        hidden_layer_sizes=(), batch_size=batch_size, learning_rate_init=0.1, **PLAIN_DESCENT
    ).partial_fit(X_6, Y_6)
    return set_weights(model, [[[0.0]]], [[0.0]])


def loss_surface(weight, bias):
    """The one surface on which all three descend."""
    return 0.5 * ((X_6[:, 0] * weight + bias - Y_6) ** 2).mean()


@pytest.mark.parametrize("kind", BATCH_SIZES)
def test_trajectories_on_one_loss_surface(kind):
    batch_size = BATCH_SIZES[kind]
    model = line_through_the_noise(batch_size)
    weight = bias = 0.0
    losses = [loss_surface(0, 0)]
    for _ in range(EPOCHS_6):
        model.partial_fit(X_6, Y_6)
        # The same epoch by hand: w <- w - eta dJ/dw on one batch x[i : i + b] after the other.
        for i in range(0, N_6, batch_size):
            x, y = X_6[i : i + batch_size, 0], Y_6[i : i + batch_size]
            error = weight * x + bias - y
            weight, bias = weight - 0.1 * (error * x).mean(), bias - 0.1 * error.mean()
        assert model.coefs_[0].item() == pytest.approx(weight, rel=1e-12)
        assert model.intercepts_[0].item() == pytest.approx(bias, rel=1e-12)
        losses.append(loss_surface(weight, bias))

    best_line = np.polyfit(X_6[:, 0], Y_6, 1)
    lowest = loss_surface(*best_line)
    if kind == "batch":
        # Every step goes downhill, but there is only one an epoch.
        assert (np.diff(losses) < 0).all()
    else:
        # More steps an epoch come closer in the first epochs, and end up circling the lowest point.
        assert losses[3] - lowest < 0.5 * (loss_of_batch_descent(3) - lowest)
    assert losses[-1] < lowest + 0.05


def loss_of_batch_descent(n_epochs):
    """Where batch gradient descent is after so many epochs."""
    model = line_through_the_noise(N_6)
    for _ in range(n_epochs):
        model.partial_fit(X_6, Y_6)
    return loss_surface(model.coefs_[0].item(), model.intercepts_[0].item())


@pytest.mark.parametrize(
    ("batch_size", "iterations_per_epoch"), [(N_6, 1), (6, 2), (5, 3), (4, 3), (1, 12)]
)
def test_epochs_batch_size_and_iterations(batch_size, iterations_per_epoch):
    # Inputs and targets of zero leave only the L2 penalty, which takes the same share of the weight
    # at every iteration on a full batch: so the weight counts the iterations.
    n_epochs, alpha, learning_rate = 5, 0.1, 0.1
    X, y = np.zeros((N_6, 1)), np.zeros(N_6)
    arguments = {**PLAIN_DESCENT, "alpha": alpha, "learning_rate_init": learning_rate}
    model = MLPRegressor(hidden_layer_sizes=(), batch_size=batch_size, **arguments)
    set_weights(model.partial_fit(X, y), [[[1.0]]], [[0.0]])
    for _ in range(n_epochs):
        model.partial_fit(X, y)

    sizes = [min(batch_size, N_6 - i) for i in range(0, N_6, batch_size)]
    assert len(sizes) == iterations_per_epoch == math.ceil(N_6 / batch_size)
    shrinkage = math.prod(1 - learning_rate * alpha / size for size in sizes)
    assert model.coefs_[0].item() == pytest.approx(shrinkage**n_epochs, rel=1e-12)
    assert model.t_ == (n_epochs + 1) * N_6
