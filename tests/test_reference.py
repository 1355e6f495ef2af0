"""The NumPy twin must itself be right: it is held against finite differences and scikit-learn."""

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor

from tests import reference

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Away from 0, where several activations have a corner.
Z = np.concatenate([np.linspace(-6, -0.1, 23), np.linspace(0.1, 6, 23)])


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_derivative_of_activation(name):
    expected = reference.finite_difference(lambda z: reference.activate(name, z), Z)
    np.testing.assert_allclose(reference.derivative(name, Z), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", [*reference.ACTIVATIONS, "softmax"])
def test_activation_keeps_the_dtype_and_is_finite_far_out(name):
    z = np.array([[-80.0, -1.0, 0.0, 1.0, 80.0]], dtype=np.float32)
    upstream = np.ones_like(z)
    for result in (
        reference.activate(name, z),
        reference.activation_backward(name, z, upstream),
    ):
        assert result.dtype == np.float32
        assert np.isfinite(result).all()


LOSSES_AND_OUTPUTS = [
    ("log_loss", "softmax"),
    ("log_loss", "logistic"),
    ("poisson", "exp"),
    ("poisson", "softplus"),
    ("gamma", "exp"),
    ("gamma", "softplus"),
    ("focal", "softmax"),
    ("focal", "logistic"),
    ("absolute_error", "tanh"),
    ("huber", "tanh"),
    ("quantile", "tanh"),
    ("squared_error", "softmax"),
    *[("squared_error", name) for name in reference.ACTIVATIONS if name != "binary_step"],
]


@pytest.mark.parametrize(("loss", "out_activation"), LOSSES_AND_OUTPUTS)
def test_delta_is_the_derivative_of_the_loss(loss, out_activation):
    rng = np.random.RandomState(0)
    logits = rng.normal(size=(4, 3))
    y = np.eye(3)[[0, 2, 1, 0]] + (loss == "gamma")
    sample_weight = np.array([1.0, 2.0, 0.5, 0.0])

    def total_loss():
        mean, _ = reference.loss_and_delta(loss, out_activation, logits, y, sample_weight)
        return mean * sample_weight.sum()

    _, delta = reference.loss_and_delta(loss, out_activation, logits, y, sample_weight)
    expected = reference.finite_difference_gradient(total_loss, logits)
    # The loss is averaged over the three outputs, its gradient (scikit-learn's) is not.
    expected *= 3 if loss == "squared_error" else 1
    np.testing.assert_allclose(delta, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("activations", [[], ["tanh"], ["prelu", "elu"], ["gelu", "prelu"]])
@pytest.mark.parametrize("sample_weight", [None, np.array([0.5, 2.0, 1.0, 3.0, 0.1])])
@pytest.mark.parametrize(
    ("loss", "out_activation", "n_outputs"),
    [("log_loss", "logistic", 2), ("squared_error", "prelu", 1)],
)
def test_backward_is_the_derivative_of_the_loss(
    loss, out_activation, n_outputs, activations, sample_weight
):
    rng = np.random.RandomState(1)
    sizes = [4, *[3] * len(activations), n_outputs]
    network = reference.initialise(sizes, activations, out_activation, rng)
    X, y = rng.normal(size=(5, 4)), rng.randint(2, size=(5, n_outputs)).astype(float)
    arguments = (network, X, y, loss, 0.3, sample_weight)

    _, gradients = reference.backward(*arguments)
    for array, gradient in zip(network.parameters, gradients, strict=True):
        expected = reference.finite_difference_gradient(
            lambda: reference.backward(*arguments)[0], array, step=1e-4
        )
        if array is network.slopes:
            # Other slopes have an influence too, but are not learned.
            expected[[name != "prelu" for name in network.layer_activations]] = 0
        np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-10)


OPTIMIZERS = {
    "plain": (reference.SGD, {}, dict(solver="sgd", momentum=0)),
    "momentum": (
        reference.SGD,
        dict(momentum=0.9),
        dict(solver="sgd", nesterovs_momentum=False),
    ),
    "nesterov": (reference.SGD, dict(momentum=0.9, nesterov=True), dict(solver="sgd")),
    "invscaling": (
        reference.SGD,
        dict(schedule="invscaling"),
        dict(solver="sgd", momentum=0, learning_rate="invscaling"),
    ),
    "adaptive": (
        reference.SGD,
        dict(momentum=0.9, nesterov=True, schedule="adaptive"),
        dict(solver="sgd", learning_rate="adaptive"),
    ),
    "adam": (reference.Adam, {}, dict(solver="adam")),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "loss_and_output", ["log_loss-softmax", "log_loss-logistic", "squared_error-identity"]
)
def test_training_follows_scikit_learn(optimizer, loss_and_output):
    loss, out_activation = loss_and_output.split("-")
    rng = np.random.RandomState(2)
    X, noise = rng.normal(size=(30, 4)), rng.normal(size=(30, 3))
    if out_activation == "softmax":
        y = noise.argmax(axis=1)
        targets = np.eye(3)[y]
    else:
        y = targets = noise if out_activation == "identity" else (noise > 0).astype(float)

    optimizer_class, reference_arguments, arguments = OPTIMIZERS[optimizer]
    stopping = dict(tol=0.02, n_iter_no_change=2)
    theirs = (MLPClassifier if loss == "log_loss" else MLPRegressor)(
        hidden_layer_sizes=(5, 4),
        activation="logistic",
        alpha=0.1,
        batch_size=7,
        learning_rate_init=0.05,
        max_iter=25,
        random_state=0,
        **stopping,
        **arguments,
    ).fit(X, y)

    rng = np.random.RandomState(0)
    ours = reference.initialise([4, 5, 4, 3], ["logistic", "logistic"], out_activation, rng)
    loss_curve = reference.train(
        ours,
        X,
        targets,
        loss,
        optimizer_class(0.05, **reference_arguments),
        batch_size=7,
        n_epochs=25,
        rng=rng,
        alpha=0.1,
        **stopping,
    )
    np.testing.assert_allclose(loss_curve, theirs.loss_curve_, rtol=1e-12)
    for mine, its in zip(ours.parameters, theirs.coefs_ + theirs.intercepts_, strict=False):
        np.testing.assert_allclose(mine, its, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("out_activation", ["identity", "logistic", "softmax", "prelu"])
def test_input_gradients_are_the_derivatives(out_activation, logits):
    rng = np.random.RandomState(3)
    network = reference.initialise([4, 5, 3, 3], ["tanh", "prelu"], out_activation, rng)
    X, y = rng.normal(size=(6, 4)), np.eye(3)[rng.randint(3, size=6)]

    def output():
        pre_activations, activations = reference.forward(network, X)
        return (pre_activations if logits else activations)[-1][:, 1].sum()

    gradient = reference.input_gradients_of_output(network, X, 1, logits)
    expected = reference.finite_difference_gradient(output, X, step=1e-4)
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-10)

    loss = {"identity": "squared_error", "prelu": "squared_error"}.get(out_activation, "log_loss")
    gradient = reference.input_gradients_of_loss(network, X, y, loss)
    expected = reference.finite_difference_gradient(
        lambda: (
            reference.sample_losses(loss, out_activation, y, reference.predict(network, X)).sum()
            # The gradient is that of the sum over outputs.
            * (3 if loss == "squared_error" else 1)
        ),
        X,
        step=1e-4,
    )
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-10)
