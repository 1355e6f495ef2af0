"""A variant is added in one file: a toy activation, written into a copy of the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import fastmlp

PACKAGE = Path(fastmlp.__file__).parent

# f(z) = z / sqrt(1 + z^2), whose derivative is (1 - f(z)^2)^(3/2).
ROW = '    "isru": Activation(isru, isru_derivative, "z / sqrt(1 + z^2)", "(1 - a^2)^(3/2)"),\n'
FUNCTIONS = """@ACTIVATION.function
def isru(n_units, slope, a):
    one = a.dtype.type(1)
    for i in range(a.size):
        a[i] /= np.sqrt(one + a[i] * a[i])


@DERIVATIVE.function
def isru_derivative(n_units, slope, z, a, delta):
    one = a.dtype.type(1)
    for i in range(delta.size):
        delta[i] *= (one - a[i] * a[i]) * np.sqrt(one - a[i] * a[i])


"""

# Trains with the new activation by its name, and compares its gradient with finite differences.
SCRIPT = """
import warnings
import numpy as np
import fastmlp
from fastmlp import MLPRegressor
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.training.data import kernel_data, sample_numbers
from fastmlp.training.engine import Engine, OptimizerState
from fastmlp.training.network import NetworkLayout

print(fastmlp.__file__)
warnings.simplefilter("ignore")
rng = np.random.RandomState(0)
X = rng.uniform(-2, 2, size=(80, 3))
y = np.sin(X[:, 0]) + X[:, 1]

model = MLPRegressor(
    hidden_layer_sizes=(9, 7), activation=["isru", "tanh"], max_iter=300,
    learning_rate_init=0.01, random_state=0,
).fit(X, y)
hidden = X @ model.coefs_[0] + model.intercepts_[0]
hidden = np.tanh(hidden / np.sqrt(1 + hidden**2) @ model.coefs_[1] + model.intercepts_[1])
expected = (hidden @ model.coefs_[2] + model.intercepts_[2]).ravel()
print(np.abs(model.predict(X) - expected).max() < 1e-12, model.score(X, y) > 0.9)

try:
    MLPRegressor(activation="isrue").fit(X, y)
except ValueError as error:
    print("'isru'" in str(error))

layout = NetworkLayout(
    (3, 5, 4, 1), ("isru", "isru", "isru"), (None,) * 3, "squared_error"
)
params, order = layout.initial_params(rng, np.float64), sample_numbers(0, len(X))
data = kernel_data(X, np.float64, y[:, np.newaxis])
with Engine(
    layout, params, data, OptimizerState.start("no_step", params), {},
    alpha=0.1, batch_size=len(X), n_samples=len(X), n_jobs=1,
) as engine:
    gradient, numerical = engine.loss_and_gradient(order)[1].copy(), []
    for i in range(params.size):
        losses = []
        for steps in (-2, -1, 1, 2):
            kept, params[i] = params[i], params[i] + 1e-3 * steps
            losses.append(engine.loss_and_gradient(order)[0])
            params[i] = kept
        numerical.append((losses[0] - 8 * losses[1] + 8 * losses[2] - losses[3]) / 12e-3)
print(np.abs(gradient - numerical).max() < 1e-9)
"""


def insert_before(anchor, text, source):
    """Insert text before the only occurrence of an anchor."""
    assert source.count(anchor) == 1, f"{anchor!r} is no longer the place for a new activation"
    return source.replace(anchor, text + anchor)


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="slow in plain Python")
def test_activation_is_added_in_one_file(tmp_path):
    copy = tmp_path / "fastmlp"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / "kernels" / "activations.py"
    source = path.read_text(encoding="utf-8")
    source = insert_before("ACTIVATIONS: Table[Activation] = Table()", FUNCTIONS, source)
    path.write_text(insert_before('    "exp": Activation(', ROW, source), encoding="utf-8")

    environment = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=300,
        env={**environment, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    location, *answers = result.stdout.split()
    assert Path(location) == copy / "__init__.py"
    assert answers == ["True"] * 4
