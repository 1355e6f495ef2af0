"""Whole networks with data, for the engine and for the twin."""

from dataclasses import dataclass, replace

import numpy as np

from fastmlp.kernels.losses import LOSSES
from fastmlp.training.data import kernel_data, sample_numbers
from fastmlp.training.engine import Engine, OptimizerState
from fastmlp.training.network import NetworkLayout
from tests import reference

# What the twin calls the rows of the table of losses; each with the output activation merged
# into it, or the usual one.
TWIN_LOSSES = {
    "softmax_cross_entropy": ("log_loss", "softmax"),
    "logistic_cross_entropy": ("log_loss", "logistic"),
    "softmax_focal": ("focal", "softmax"),
    "logistic_focal": ("focal", "logistic"),
    "squared_error": ("squared_error", "identity"),
    "absolute_error": ("absolute_error", "identity"),
    "huber": ("huber", "identity"),
    "quantile": ("quantile", "identity"),
    "poisson": ("poisson", "exp"),
    "gamma": ("gamma", "exp"),
}
# Their curves have a corner, or a step, at zero.
WITH_CORNER = {"binary_step", "relu", "leaky_relu", "prelu", "elu", "selu"}
HYPER = {"momentum": 0.9, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.1}


@dataclass(frozen=True)
class Problem:
    """A network, its parameters, and data to train it on; `y` has one column per output."""

    layout: NetworkLayout
    params: np.ndarray
    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None = None

    @property
    def targets(self):
        """What the kernels read: the index of the class for the softmax, else `y`."""
        is_index = LOSSES[self.layout.loss].has_term_per_row
        targets = self.y.argmax(axis=1)[:, np.newaxis] if is_index else self.y
        return targets.astype(self.params.dtype)

    def twin(self):
        """The same network, in float64, for the twin."""
        coefs, intercepts = self.layout.unpack(self.params.astype(np.float64))
        slopes = self.layout.slope_values(self.params.astype(np.float64))[: len(coefs) - 1]
        norms = [None] * (len(coefs) - 1)
        pairs = self.layout.unpack_norms(self.params.astype(np.float64))
        for layer, pair in zip(self.layout.normalised, pairs, strict=True):
            norms[layer] = pair
        return reference.Network(
            [array.copy() for array in coefs],
            [array.copy() for array in intercepts],
            list(self.layout.activations[:-1]),
            self.layout.activations[-1],
            np.nan_to_num(slopes),
            norms,
            list(self.layout.dropout[:-1]),
        )

    def twin_data(self):
        """X, y and sample weights in float64."""
        arrays = (self.X, self.y, self.sample_weight)
        return [None if array is None else array.astype(np.float64) for array in arrays]

    def twin_gradient(self, alpha=0.0, l1=0.0):
        """The mean loss and its gradient, flat, by the twin."""
        network, (X, y, sample_weight) = self.twin(), self.twin_data()
        loss, _ = TWIN_LOSSES[self.layout.loss]
        # A new engine's noise starts from 0.
        value, gradients = reference.backward(
            network, X, y, loss, alpha, sample_weight, l1, noise=0
        )
        return value, self.flatten(gradients)

    def flatten(self, parts):
        """Join weights, biases and slopes as `reference.Network.parameters` lists them."""
        *arrays, slopes = parts
        learned = [layer for layer in self.layout.learned_slopes if layer < len(slopes)]
        return np.concatenate([*(array.ravel() for array in arrays), slopes[learned]])

    def engine(self, optimizer="no_step", X=None, **options):
        """An engine whose batch is all samples, unless the options say otherwise."""
        n_samples = len(self.X)
        defaults = {"alpha": 0.0, "batch_size": n_samples, "n_samples": n_samples, "n_jobs": 1}
        data = kernel_data(
            self.X if X is None else X, self.params.dtype, self.targets, self.sample_weight
        )
        return Engine(
            self.layout,
            self.params,
            data,
            OptimizerState.start(optimizer, self.params),
            HYPER,
            **{**defaults, **options},
        )

    def gradient(self, X=None, **options):
        """The mean loss and its gradient, flat, by the engine."""
        with self.engine(X=X, **options) as engine:
            loss, gradient = engine.loss_and_gradient(sample_numbers(0, len(self.X)))
            return loss, gradient.copy()

    def numerical_gradient(self, **options):
        """The gradient by finite differences of the engine's loss."""
        with self.engine(**options) as engine:
            order = sample_numbers(0, len(self.X))

            def loss():
                engine._count[:] = 0  # the same noise each time
                return engine.loss_and_gradient(order)[0]

            return reference.finite_difference_gradient(loss, self.params, step=1e-4)

    def copy(self):
        """The same problem with parameters of its own."""
        return replace(self, params=self.params.copy())


def permutation(seed, n_samples):
    """An order of the samples as the engine takes it."""
    return np.random.RandomState(seed).permutation(sample_numbers(0, n_samples))


def make_problem(
    hidden=(6, 5),
    activations="tanh",
    loss="squared_error",
    *,
    output=None,
    slopes=None,
    n_features=4,
    n_outputs=3,
    n_samples=17,
    dtype=np.float64,
    weighted=False,
    norms=(),
    dropout=(),
):
    """Draw a network and data at which no activation is near a corner."""
    names = [activations] * len(hidden) if isinstance(activations, str) else activations
    layout = NetworkLayout(
        units=(n_features, *hidden, n_outputs),
        activations=(*names, output or TWIN_LOSSES[loss][1]),
        slopes=(*(slopes or [None] * len(hidden)), None),
        loss=loss,
        norms=(*norms, False) if norms else (),
        dropout=(*dropout, 0.0) if dropout else (),
    )
    for seed in range(1000):
        rng = np.random.RandomState(seed)
        X = rng.normal(size=(n_samples, n_features)).astype(dtype)
        if LOSSES[loss].has_term_per_row:
            y = np.eye(n_outputs)[rng.randint(n_outputs, size=n_samples)]
        elif LOSSES[loss].output_activation == "logistic":
            y = rng.randint(2, size=(n_samples, n_outputs)).astype(float)
        elif loss == "poisson":
            y = rng.poisson(1.5, size=(n_samples, n_outputs)).astype(float)
        elif loss == "gamma":
            y = rng.gamma(9, 1 / 9, size=(n_samples, n_outputs))
        else:
            y = rng.normal(size=(n_samples, n_outputs))
        problem = Problem(
            layout,
            layout.initial_params(rng, dtype),
            X,
            y.astype(dtype),
            rng.uniform(0.2, 2, n_samples).astype(dtype) if weighted else None,
        )
        for scales, offsets in layout.unpack_norms(problem.params):
            scales[:], offsets[:] = rng.uniform(0.5, 1.5, scales.size), rng.normal(size=scales.size)
        if not _is_near_corner(problem):
            return problem
    raise AssertionError("every draw is near a corner")


def _is_near_corner(problem, margin=5e-4):
    pre_activations, _ = reference.forward(problem.twin(), problem.X.astype(np.float64), noise=0)
    return any(
        name in WITH_CORNER and np.abs(z).min() < margin
        for name, z in zip(problem.layout.activations, pre_activations, strict=True)
    )
