"""Initial weights, order of the samples and steps are scikit-learn's and fastmlp's own."""

import warnings

import numpy as np
import pytest
from peers.estimators import make_estimator
from reference import distance, train_reference
from sklearn.exceptions import ConvergenceWarning
from workloads import WORKLOADS, Task, make_task

EPOCHS = 3


@pytest.mark.parametrize("library", ["fastmlp", "sklearn"])
@pytest.mark.parametrize("name", ["tiny", "digits", "full-batch"])
def test_estimators_reproduce_the_reference(name, library):
    task = make_task(WORKLOADS[name], "float64")
    reference = train_reference(task, EPOCHS)
    model = make_estimator(library, task.workload, EPOCHS, threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(task.X, task.y)
    np.testing.assert_allclose(model.loss_curve_, reference.losses, rtol=1e-9)
    assert distance(model.coefs_, reference.weights) <= 1e-7 * reference.travelled
    assert [W.shape for W in model.coefs_] == task.workload.layer_shapes


def test_a_task_survives_saving(tmp_path):
    task = make_task(WORKLOADS["digits"], "float32")
    task.save(tmp_path)
    loaded = Task.load(task.workload, "float32", tmp_path)
    for name in ("X", "y", "targets", "permutations"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(task, name))
    for old, new in zip(task.weights + task.biases, loaded.weights + loaded.biases, strict=True):
        assert new.dtype == np.float32
        np.testing.assert_array_equal(old, new)


def test_floating_point_operations():
    assert WORKLOADS["digits"].flop_per_sample == 4 * 64 * 100 + 6 * 100 * 10
    assert not WORKLOADS["stochastic-wide"].is_bound_by_products
    assert WORKLOADS["wide"].is_bound_by_products
