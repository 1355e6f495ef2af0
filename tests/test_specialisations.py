"""Whatever is fitted, each entry point is compiled once per dtype."""

import dataclasses
import importlib
import itertools
import json
import os
import pkgutil
import subprocess
import sys
import warnings
from pathlib import Path

import numba
import numpy as np
import pytest
from scipy import sparse

from fastmlp import CustomActivation, CustomLoss, MLPClassifier, MLPRegressor, kernels
from fastmlp._jit import entry_point
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.training import engine
from fastmlp.training.plan import make_plan

SOLVERS = [
    {"solver": "adam"},
    {"solver": "lbfgs"},
    {"solver": "sgd"},
    {"solver": "sgd", "nesterovs_momentum": False},
    {"solver": "sgd", "momentum": 0},
    {"solver": "adamw"},
    {"solver": "nadam"},
]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def read_only_csr(array):
    array = sparse.csr_array(array)
    for part in (array.data, array.indices, array.indptr):
        part.flags.writeable = False
    return array


def long_csr(array):
    array = sparse.csr_matrix(array)
    array.indices, array.indptr = array.indices.astype(np.int64), array.indptr.astype(np.int64)
    return array


FORMS = {
    "plain": np.copy,
    "Fortran": np.asfortranarray,
    "read-only": read_only,
    "reversed": lambda array: array[::-1].copy()[::-1],
    "integers": lambda array: (10 * array).astype(int),
    "csr": sparse.csr_array,
    "read-only csr": read_only_csr,
    "long csr": long_csr,
    "csc": sparse.csc_matrix,
}

ENTRY_POINTS = {"predict", "run_batches_together", "run_batches_on_shards", "run_samples"}
RNG = np.random.RandomState(0)
X = RNG.normal(size=(30, 6)).clip(-0.5)
WEIGHTS = RNG.uniform(size=30)
CLASSES = {
    "binary": X[:, 0] > 0,
    "multiclass": RNG.randint(3, size=30),
    "multilabel": X[:, :3] > 0,
}
NUMBERS = {"regression": X[:, 0], "multioutput": X[:, :2], "counts": np.abs(X[:, 0]).round()}


def fit(dtype, task="regression", form="plain", *, weighted=False, size=30, **options):
    """Fit, predict many rows and one, and go on training."""
    if task == "counts":
        options["loss"] = "poisson"
    options = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0, **options}
    model = (MLPClassifier if task in CLASSES else MLPRegressor)(**options)
    inputs, y = FORMS[form](X[:size].astype(dtype)), {**CLASSES, **NUMBERS}[task][:size]
    sample_weight = WEIGHTS[:size] if weighted else None
    model.fit(inputs, y, sample_weight=sample_weight)
    for rows in (inputs, inputs[:1]):
        model.predict(rows)
    if model.solver != "lbfgs" and not model.early_stopping:
        model.partial_fit(inputs, y, sample_weight=sample_weight)


def fit_everything(dtype):
    """Fit networks of every kind to data of every kind."""
    for hidden in [(), (1,), (5,), (3, 4), (2, 3, 4, 5)]:
        for task in (*CLASSES, *NUMBERS):
            fit(dtype, task, hidden_layer_sizes=hidden)
    for name, row in ACTIVATIONS.items():
        fit(dtype, out_activation=name)
        if row.is_hidden:
            fit(dtype, activation=name)
            fit(dtype, activation=[name, "relu"], hidden_layer_sizes=(3, 4))
    for options, form, weighted in itertools.product(SOLVERS, FORMS, [False, True]):
        fit(dtype, form=form, weighted=weighted, **options)
    for options, batch_size, form in itertools.product(SOLVERS, [1, 7, 30], ["plain", "csr"]):
        fit(dtype, form=form, batch_size=batch_size, **options)
    for options in SOLVERS:
        fit(dtype, "multiclass", alpha=0, n_jobs=2, **options)
        fit(dtype, "multiclass", alpha=1, **options)
        fit(dtype, "multiclass", learning_rate="adaptive", shuffle=False, **options)
        fit(dtype, "multiclass", early_stopping=True, validation_fraction=0.3, **options)
        fit(dtype, "multiclass", size=1, **options)
    activation = CustomActivation(lambda z: 2 * z, lambda z: 2.0)
    for loss in (
        CustomLoss(lambda a, y: (a - y) ** 2, lambda a, y: 2 * (a - y)),
        CustomLoss(lambda a, y: (a - y) ** 4, lambda a, y: 4 * (a - y) ** 3),
    ):
        fit(dtype, activation=activation, loss=loss, early_stopping=True, scoring="loss")
    # Large enough for two threads, which share parameters or, with a learned slope, samples, and
    # for a compiled shuffle.
    large = RNG.normal(size=(2000, 20)).astype(dtype)
    for n_jobs, activation in itertools.product([1, 2, -1], ["relu", "prelu"]):
        model = MLPRegressor(
            hidden_layer_sizes=(100, 100), activation=activation, n_jobs=n_jobs, max_iter=2
        )
        model.fit(large, large[:, 0]).predict(large)


def signatures():
    """List the signatures of every entry point."""
    disk_cache = type(entry_point(lambda: None)._cache)
    found = {}
    for module in pkgutil.iter_modules(kernels.__path__):
        for name, value in vars(importlib.import_module(f"fastmlp.kernels.{module.name}")).items():
            if isinstance(getattr(value, "_cache", None), disk_cache):
                found[name] = [str(signature) for signature in value.signatures]
                if name in ENTRY_POINTS:
                    # What `compile_ahead` compiles is what is called.
                    reals = (numba.types.float64, numba.types.float32)
                    declared = {value.interface.signature(real).args for real in reals}
                    assert declared == set(value.signatures), name
    return found


def plan_together(layout, dtype, batch_size, **options):
    """Let threads go through the layers together, where they can, however small the work is."""
    plan = make_plan(layout, dtype, batch_size, **options)
    if layout.learned_slopes or any(layout.norms):
        return plan
    return dataclasses.replace(
        plan, shares_layers=True, n_shards=1, capacity=batch_size, useful_threads=2, is_narrow=False
    )


def main():
    """Fit everything in both dtypes, in both ways to share a batch; print what was compiled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for dtype, way in itertools.product((np.float64, np.float32), (make_plan, plan_together)):
            engine.make_plan = way
            fit_everything(dtype)
    sys.stdout.write(json.dumps(signatures()))


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")
def test_one_signature_per_dtype():
    # In a process of its own, where no other test has called anything.
    result = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import main; main()"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert set(found) >= ENTRY_POINTS
    for name, kinds in found.items():
        # What has nothing to do with floats is compiled once.
        has_floats = name not in {"set_mode", "shuffle"}
        assert len(kinds) == 1 + has_floats, f"{name} was compiled for {kinds}"
        assert ["float32" in kind for kind in kinds] == [False, True][: len(kinds)]
