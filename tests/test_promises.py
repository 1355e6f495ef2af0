"""The promises of docs/promises.rst: each names a test that exists, and some are kept here."""

import ast
import copy
import io
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.base import clone

from fastmlp import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "promises.rst").read_text(encoding="utf-8")
X = np.random.RandomState(0).normal(size=(300, 6))
MODELS = {
    "classifier": (MLPClassifier((300,), max_iter=5, random_state=0), np.arange(300) % 3),
    "regressor": (
        MLPRegressor(hidden_layer_sizes=(300,), solver="sgd", max_iter=5, random_state=0),
        X[:, 0],
    ),
}


@pytest.fixture(params=MODELS)
def model(request):
    estimator, y = MODELS[request.param]
    return clone(estimator).fit(X, y)


def joblib_copy(model):
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


def skops_copy(model):
    content = skops.io.dumps(model)
    return skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content))


COPIES = {
    "skops": skops_copy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "joblib": joblib_copy,
    "deepcopy": copy.deepcopy,
}


def test_every_promise_names_a_test_that_exists():
    promises = re.findall(r"^- .*?(?=^- |^$)", PAGE, re.DOTALL | re.MULTILINE)
    assert len(promises) > 10
    for promise in promises:
        names = re.findall(r"``(tests/[\w/]+\.py)::(\w+)``", promise)
        assert names, promise
        for path, name in names:
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert name in functions, f"{path} has no {name}"


def test_a_fit_can_be_repeated(model):
    again = clone(model).fit(
        X, MODELS["classifier" if hasattr(model, "classes_") else "regressor"][1]
    )
    assert again.loss_curve_ == model.loss_curve_
    for weights, others in zip(model.coefs_, again.coefs_, strict=True):
        np.testing.assert_array_equal(weights, others)


@pytest.mark.parametrize("method", COPIES)
def test_copies_predict_the_same(method, model):
    other = COPIES[method](model)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    y = model.predict(X)
    # They share nothing, and go on alike.
    before = [weights.copy() for weights in model.coefs_]
    other.partial_fit(X, y)
    np.testing.assert_equal(model.coefs_, before)
    np.testing.assert_equal(model.partial_fit(X, y).coefs_, other.coefs_)
    assert not hasattr(clone(model), "coefs_")


def test_pickles_hold_weights_once_and_nothing_compiled(model):
    size = len(pickle.dumps(model))
    model.predict(X)
    model.predict(X[:1])
    model.to_numba()
    model.score(X, model.predict(X))
    content = pickle.dumps(model)
    assert len(content) == size
    assert b"numba" not in content
    assert b"llvmlite" not in content
    # Weights, and two moments or one velocity of each in the state of the optimizer.
    n_bytes = model._parameters().nbytes * (1 + len(model._optimizer.slots))
    assert n_bytes < size < n_bytes + 10_000


def test_threads_may_predict_with_one_model(model):
    expected = [model.predict(X[:n]) for n in range(1, 100)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            found = pool.map(lambda n: model.predict(X[:n]), range(1, 100))
            for labels, others in zip(expected, found, strict=True):
                np.testing.assert_array_equal(labels, others)


def test_threads_may_fit_different_models():
    models = [MLPRegressor(max_iter=5, random_state=seed) for seed in range(8)]
    expected = [clone(model).fit(X, X[:, 1]).loss_curve_ for model in models]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda model: model.fit(X, X[:, 1]).loss_curve_, models))
    assert found == expected
