"""The workloads: networks and data that every library trains in exactly the same way.

A `Workload` says what is trained. A `Task` is a workload made ready in one precision: the arrays,
the initial weights and the order of the samples in each epoch. The last two are those that
``fit`` of both scikit-learn and fastmlp draw from ``random_state=SEED``, so that libraries that
have no ``fit`` can be given the same start and the same mini-batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ALPHA",
    "LEARNING_RATE",
    "SEED",
    "WORKLOADS",
    "Task",
    "Workload",
    "load_fashion_images",
    "make_task",
]

SEED = 0
ALPHA = 1e-4
LEARNING_RATE = 1e-3
MOMENTUM = 0.9
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
N_PERMUTATIONS = 8  # the order of the samples repeats after so many epochs

Loss = Literal["softmax", "logistic", "squared"]


@dataclass(frozen=True)
class Workload:
    """A network, the size of its data and how it is trained.

    Parameters
    ----------
    name : str
        Short name, as in tables.
    layer_sizes : tuple of int
        Units per layer, inputs and outputs included.
    activation : {"relu", "tanh"}
        Activation of the hidden layers.
    n_samples : int
        Rows of the training data.
    batch_size : int
        Rows per step; the last step of an epoch may have fewer.
    solver : {"adam", "sgd", "nesterov"}
        "sgd" is without momentum, "nesterov" is sgd with Nesterov's momentum of 0.9.
    loss : {"softmax", "logistic", "squared"}
        Output activation and loss together. "logistic" is one yes-no question per output,
        because scikit-learn gives two classes one output only.
    make_data : callable
        Takes the workload, returns X, the targets and a few words on where they are from.
    """

    name: str
    layer_sizes: tuple[int, ...]
    activation: Literal["relu", "tanh"]
    n_samples: int
    batch_size: int
    solver: Literal["adam", "sgd", "nesterov"]
    loss: Loss
    make_data: Callable[[Workload], tuple[NDArray[Any], NDArray[Any], str]] = field(repr=False)

    @property
    def layer_shapes(self) -> list[tuple[int, int]]:
        """Fan-in and fan-out of each layer."""
        return list(zip(self.layer_sizes[:-1], self.layer_sizes[1:], strict=True))

    @property
    def flop_per_sample(self) -> int:
        """Floating-point operations of the matrix products, per sample and epoch.

        The first layer takes part in two products (forward, weight gradient), the others in three.
        """
        first, *others = (fan_in * fan_out for fan_in, fan_out in self.layer_shapes)
        return 4 * first + 6 * sum(others)

    @property
    def is_bound_by_products(self) -> bool:
        """Whether a step is large enough that the GEMM replay says something about its limit."""
        return self.batch_size > 1 and self.batch_size * self.flop_per_sample > 1e6

    @property
    def network(self) -> str:
        """The network in a few characters."""
        return f"{'-'.join(map(str, self.layer_sizes))} {self.activation}"

    def estimator_parameters(self) -> dict[str, Any]:
        """Return the arguments that make a scikit-learn estimator train this workload.

        Returns
        -------
        dict
            Keyword arguments; ``max_iter`` is for the caller to add. No criterion stops a fit
            early.
        """
        parameters: dict[str, Any] = {
            "hidden_layer_sizes": self.layer_sizes[1:-1],
            "activation": self.activation,
            "solver": "adam" if self.solver == "adam" else "sgd",
            "alpha": ALPHA,
            "batch_size": self.batch_size,
            "learning_rate_init": LEARNING_RATE,
            "random_state": SEED,
            "tol": 0.0,
            "n_iter_no_change": np.inf,
        }
        if parameters["solver"] == "sgd":
            is_nesterov = self.solver == "nesterov"
            parameters |= {
                "momentum": MOMENTUM if is_nesterov else 0.0,
                "nesterovs_momentum": is_nesterov,
            }
        return parameters


@dataclass
class Task:
    """A workload in one precision, ready to be trained.

    Parameters
    ----------
    workload : Workload
        What is trained.
    dtype : {"float32", "float64"}
        Precision of all floating-point arrays.
    X : ndarray of shape (n_samples, n_features)
        Features, C-contiguous.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Targets as an estimator takes them: class numbers, yes-no columns, or values.
    weights, biases : list of ndarray
        Initial parameters per layer, weights of shape (fan_in, fan_out).
    permutations : ndarray of int32 of shape (N_PERMUTATIONS, n_samples)
        Order of the samples in each of the first epochs.
    source : str
        Where the data is from.
    """

    workload: Workload
    dtype: str
    X: NDArray[Any]
    y: NDArray[Any]
    weights: list[NDArray[Any]]
    biases: list[NDArray[Any]]
    permutations: NDArray[np.int32]
    source: str

    @property
    def targets(self) -> NDArray[Any]:
        """The targets as the network's outputs: shape (n_samples, n_outputs), in the precision."""
        if self.workload.loss == "softmax":
            return np.eye(self.workload.layer_sizes[-1], dtype=self.dtype)[self.y]
        return np.ascontiguousarray(self.y, dtype=self.dtype)

    def save(self, folder: Path) -> None:
        """Write the arrays to a folder, from where other processes load them.

        Parameters
        ----------
        folder : Path
            An existing folder.
        """
        layers = {f"weights_{i}": W for i, W in enumerate(self.weights)}
        layers |= {f"biases_{i}": b for i, b in enumerate(self.biases)}
        np.savez(folder / "task.npz", X=self.X, y=self.y, permutations=self.permutations, **layers)

    @classmethod
    def load(cls, workload: Workload, dtype: str, folder: Path) -> Task:
        """Load what `save` wrote.

        Parameters
        ----------
        workload : Workload
            The workload that was saved.
        dtype : {"float32", "float64"}
            Its precision.
        folder : Path
            Where it was saved.

        Returns
        -------
        Task
            The same task.
        """
        layers = range(len(workload.layer_shapes))
        with np.load(folder / "task.npz") as arrays:
            return cls(
                workload,
                dtype,
                arrays["X"],
                arrays["y"],
                [arrays[f"weights_{i}"] for i in layers],
                [arrays[f"biases_{i}"] for i in layers],
                arrays["permutations"],
                "loaded",
            )


def make_task(workload: Workload, dtype: str, seed: int = SEED) -> Task:
    """Make a workload ready.

    Parameters
    ----------
    workload : Workload
        What is to be trained.
    dtype : {"float32", "float64"}
        Precision of all floating-point arrays.
    seed : int
        Seed of the initial weights and of the permutations.

    Returns
    -------
    Task
        Data, initial weights and permutations; equal in every process.
    """
    X, y, source = workload.make_data(workload)
    rng = np.random.RandomState(seed)
    weights, biases = [], []
    for fan_in, fan_out in workload.layer_shapes:
        bound = np.sqrt(6 / (fan_in + fan_out))
        weights.append(rng.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype))
        biases.append(rng.uniform(-bound, bound, fan_out).astype(dtype))
    order = np.arange(workload.n_samples, dtype=np.int32)
    permutations = np.empty((N_PERMUTATIONS, workload.n_samples), np.int32)
    for epoch in range(N_PERMUTATIONS):
        shuffled = np.arange(workload.n_samples)
        rng.shuffle(shuffled)
        order = order[shuffled]
        permutations[epoch] = order
    X = np.ascontiguousarray(X, dtype=dtype)
    y = np.ascontiguousarray(y, dtype=dtype if workload.loss == "squared" else np.int64)
    return Task(workload, dtype, X, y, weights, biases, permutations, source)


# Data ----------------------------------------------------------------------------------------


def _two_gaussians(workload: Workload) -> tuple[NDArray[Any], NDArray[Any], str]:
    """Make two overlapping Gaussian clouds, their two classes as yes-no columns."""
    rng = np.random.RandomState(1)
    classes = rng.randint(2, size=workload.n_samples)
    X = rng.randn(workload.n_samples, workload.layer_sizes[0]) + np.where(classes, 1, -1)[:, None]
    return X, np.eye(2)[classes], "synthetic: two Gaussians"


def _synthetic_classes(workload: Workload) -> tuple[NDArray[Any], NDArray[Any], str]:
    """Make scikit-learn's Gaussian clusters on the corners of a cube."""
    from sklearn.datasets import make_classification

    n_features, n_classes = workload.layer_sizes[0], workload.layer_sizes[-1]
    X, classes = make_classification(
        workload.n_samples,
        n_features,
        n_informative=min(n_features, 16),
        n_classes=n_classes,
        random_state=1,
    )
    X = (X - X.mean(0)) / X.std(0)
    y = np.eye(n_classes)[classes] if workload.loss == "logistic" else classes
    return X, y, "synthetic: make_classification"


def _matrix_exponentials(workload: Workload) -> tuple[NDArray[Any], NDArray[Any], str]:
    """Make random 2 × 2 matrices and their exponentials."""
    from scipy.linalg import expm

    matrices = np.random.RandomState(1).randn(workload.n_samples, 2, 2)
    X, y = matrices.reshape(-1, 4), expm(matrices).reshape(-1, 4)
    return X, y / y.std(), "synthetic: exponentials of 2 × 2 matrices"


def _digits(workload: Workload) -> tuple[NDArray[Any], NDArray[Any], str]:
    from fastmlp.datasets import load_digits

    data = load_digits()
    return data.X[: workload.n_samples] / 16, data.y[: workload.n_samples], "scikit-learn's digits"


@cache
def load_fashion_images() -> tuple[NDArray[Any], NDArray[Any], str]:
    """Load Fashion-MNIST, or without it make images of the same size, sparsity and classes.

    Returns
    -------
    X : ndarray of uint8 of shape (70000, 784)
        Images, the last 10,000 for testing.
    y : ndarray of uint8 of shape (70000,)
        Classes.
    source : str
        Which of the two it is.
    """
    from fastmlp.datasets import DatasetError, load_fashion

    try:
        data = load_fashion()
    except DatasetError:
        rng = np.random.RandomState(1)
        y = rng.randint(10, size=70_000).astype(np.uint8)
        shapes = rng.rand(10, 784) > 0.5
        X = rng.randint(256, size=(70_000, 784), dtype=np.uint8) * shapes[y]
        return X, y, "synthetic stand-in for Fashion-MNIST"
    return data.X, data.y, "Fashion-MNIST"


def _fashion(workload: Workload) -> tuple[NDArray[Any], NDArray[Any], str]:
    X, y, source = load_fashion_images()
    n = workload.n_samples
    return X[:n].astype(np.float32) / np.float32(255), y[:n], source


# The table -----------------------------------------------------------------------------------

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload("tiny", (2, 8, 2), "tanh", 2_000, 32, "sgd", "logistic", _two_gaussians),
        Workload(
            "stochastic-small",
            (20, 50, 2),
            "relu",
            2_000,
            1,
            "sgd",
            "logistic",
            _synthetic_classes,
        ),
        Workload(
            "stochastic-wide",
            (784, 100, 10),
            "relu",
            2_000,
            1,
            "sgd",
            "softmax",
            _synthetic_classes,
        ),
        Workload(
            "stochastic-fashion", (784, 100, 10), "relu", 2_000, 1, "sgd", "softmax", _fashion
        ),
        Workload("digits", (64, 100, 10), "relu", 1_797, 200, "adam", "softmax", _digits),
        Workload(
            "tabular", (20, 64, 64, 2), "relu", 20_000, 128, "adam", "logistic", _synthetic_classes
        ),
        Workload("fashion", (784, 100, 10), "relu", 10_000, 200, "adam", "softmax", _fashion),
        Workload("fashion-all", (784, 100, 10), "relu", 60_000, 200, "adam", "softmax", _fashion),
        Workload(
            "fashion-deep", (784, 256, 128, 10), "relu", 10_000, 128, "adam", "softmax", _fashion
        ),
        Workload("wide", (784, 1024, 1024, 10), "relu", 5_120, 256, "adam", "softmax", _fashion),
        Workload(
            "full-batch",
            (4, 32, 16, 4),
            "tanh",
            10_000,
            10_000,
            "adam",
            "squared",
            _matrix_exponentials,
        ),
        Workload(
            "small-batch",
            (54, 256, 256, 7),
            "relu",
            20_000,
            32,
            "adam",
            "softmax",
            _synthetic_classes,
        ),
        Workload(
            "small-batch-nesterov",
            (54, 256, 256, 7),
            "relu",
            20_000,
            32,
            "nesterov",
            "softmax",
            _synthetic_classes,
        ),
    )
}
