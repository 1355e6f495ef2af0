"""Data larger than memory: memory maps, chunks, generators."""

import doctest
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastmlp import MLPClassifier, MLPRegressor
from tests.estimators.problems import TASKS, make_estimator, make_problem

GUIDE = Path(__file__).parents[2] / "docs" / "guide"


def chunks_of(*arrays, n_rows=25):
    for start in range(0, len(arrays[0]), n_rows):
        yield tuple(array[start : start + n_rows] for array in arrays)


def all_classes(task, y):
    """The keyword that a classifier needs."""
    if task not in ("binary", "multiclass", "multilabel"):
        return {}
    return {"classes": range(y.shape[1]) if y.ndim == 2 else np.unique(y)}


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_batches_are_those_of_partial_fit(task, is_weighted):
    arrays = make_problem(task)[: 3 if is_weighted else 2]
    keywords = all_classes(task, arrays[1])
    model, expected = (make_estimator(task, batch_size=10, random_state=0) for _ in range(2))
    for _ in range(2):
        assert model.fit_batches(chunks_of(*arrays), **keywords) is model
        for X, y, *weights in chunks_of(*arrays):
            expected.partial_fit(X, y, *weights, **keywords)
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])
    assert model.loss_curve_ == expected.loss_curve_
    assert model.t_ == 120


def test_batches_may_be_lists_and_sparse():
    X, y, _ = make_problem("binary")
    pairs = [[csr_array(X[:30]), y[:30]], (X[30:].tolist(), list(y[30:]), None)]
    model = MLPClassifier(random_state=0).fit_batches(pairs, classes=["no", "yes"])
    expected = MLPClassifier(random_state=0)
    expected.partial_fit(X[:30], y[:30], classes=["no", "yes"]).partial_fit(X[30:], y[30:])
    np.testing.assert_allclose(model.coefs_[0], expected.coefs_[0], rtol=1e-9)


def test_one_batch_at_a_time_is_asked_for():
    X, y, _ = make_problem("regression")
    model, seen = MLPRegressor(), []

    def batches():
        for batch in chunks_of(X, y, n_rows=20):
            seen.append(getattr(model, "t_", 0))
            yield batch

    model.fit_batches(batches())
    assert seen == [0, 20, 40]


@pytest.mark.parametrize(
    ("batches", "match"),
    [
        ([], "^batches is empty"),
        (iter([]), "^batches is empty"),
        ([np.zeros((4, 2))], r"batches must be a tuple \(X, y\) .* got ndarray at position 0"),
        ([([[0.0]], [0]), ([[0.0]],)], r"batches must be a tuple \(X, y\) .* at position 1"),
        ([([[0.0]], [0], None, None)], r"batches must be a tuple \(X, y\) .* at position 0"),
    ],
)
def test_bad_batches(batches, match):
    with pytest.raises(ValueError, match=match):
        MLPRegressor().fit_batches(batches)


def test_clashes_are_those_of_partial_fit():
    X, y, _ = make_problem("binary")
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPClassifier().fit_batches([(X, y)])
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        MLPRegressor(early_stopping=True).fit_batches([(X, np.arange(60.0))])
    assert not hasattr(MLPRegressor(solver="lbfgs"), "fit_batches")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_map_is_not_copied(dtype, tmp_path, monkeypatch):
    X, y, _ = make_problem("regression", dtype=dtype)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    from fastmlp.estimators import _base

    shared, original = [], _base.kernel_data

    def kernel_data(X, *args):
        data = original(X, *args)
        shared.append(np.shares_memory(data.X, mapped))
        return data

    monkeypatch.setattr(_base, "kernel_data", kernel_data)
    model = MLPRegressor(max_iter=3, random_state=0).fit(mapped, y)
    assert all(shared)
    expected = MLPRegressor(max_iter=3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])


@pytest.mark.parametrize("name", ["out_of_core", "training"])
def test_guide_prints_what_it_says(name):
    failures, tests = doctest.testfile(str(GUIDE / f"{name}.rst"), module_relative=False)
    assert tests > 10
    assert failures == 0
