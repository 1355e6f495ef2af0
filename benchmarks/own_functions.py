"""What an epoch costs with a user's own function, relative to the built-in one of that formula.

On the digits, 64-100-10 with Adam and batches of 200, and for losses on the same inputs with one
output; one thread. Both models take turns, fit by fit; the medians over all their epochs are
compared, after their loss curves have been.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from fastmlp import CustomActivation, CustomLoss, MLPClassifier, MLPRegressor

EPOCHS = 6


def _relu(z: float) -> float:
    return z if z > 0 else 0


def _relu_derivative(z: float) -> float:
    return 1 if z > 0 else 0


def _tanh(z: float) -> float:
    return math.tanh(z)


def _tanh_derivative(z: float) -> float:
    return 1 - math.tanh(z) ** 2


def _silu(z: float) -> float:
    return float(z / (1 + np.exp(-z)))


def _silu_derivative(z: float) -> float:
    s = 1 / (1 + np.exp(-z))
    return float(s * (1 + z * (1 - s)))


def _half_square(prediction: float, target: float) -> float:
    return (prediction - target) ** 2 / 2


def _difference(prediction: float, target: float) -> float:
    return prediction - target


PAIRS: list[tuple[type, str, str, Any]] = [
    (MLPClassifier, "activation", "relu", CustomActivation(_relu, _relu_derivative)),
    (MLPClassifier, "activation", "tanh", CustomActivation(_tanh, _tanh_derivative)),
    (MLPClassifier, "activation", "silu", CustomActivation(_silu, _silu_derivative)),
    (MLPRegressor, "loss", "squared_error", CustomLoss(_half_square, _difference)),
]


def _fit(kind: type, options: dict[str, Any], X: Any, y: Any) -> tuple[list[float], list[float]]:
    """Return the loss and the seconds of each epoch but the first."""
    times: list[float] = []
    model = kind(
        **options, random_state=0, max_iter=EPOCHS, n_jobs=1,
        callbacks=[lambda epoch: times.append(time.perf_counter())],
    )  # fmt: skip
    model.fit(X, y)
    return model.loss_curve_, list(np.diff(times))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore", ConvergenceWarning)
    X, y = load_digits(return_X_y=True)
    print("| function | dtype | built-in, ms | own, ms | ratio |\n| :-- | :-- | --: | --: | --: |")
    for dtype in (np.float64, np.float32):
        inputs = (X / 16).astype(dtype)
        for kind, parameter, name, own in PAIRS:
            seconds: tuple[list[float], list[float]] = ([], [])
            curves: list[list[float]] = [[], []]
            for turn in range(rounds + 1):
                for which, value in enumerate((name, own)):
                    curves[which], times = _fit(kind, {parameter: value}, inputs, y)
                    if turn:  # the first compiles
                        seconds[which].extend(times)
            np.testing.assert_allclose(*curves, rtol=1e-9 if dtype is np.float64 else 1e-3)
            builtin, ours = (float(np.median(times)) * 1000 for times in seconds)
            print(
                f"| {name} | {np.dtype(dtype).name} | {builtin:.2f} | {ours:.2f} | "
                f"{ours / builtin:.3f} |"
            )


if __name__ == "__main__":
    main()
