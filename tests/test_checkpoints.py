"""A fit that goes on from a checkpoint ends where the uninterrupted one ends, bit for bit."""

import importlib.util
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone

import fastmlp
from fastmlp import Checkpoint, MLPClassifier, MLPRegressor, resume
from fastmlp.estimators._base import SOLVERS
from fastmlp.kernels.losses import LOSSES
from fastmlp.training.schedules import PLANS, SCHEDULES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.RandomState(0).normal(size=(80, 4))
Y = np.array(["no", "yes", "perhaps"])[np.arange(80) % 3]
SCRIPT = Path(__file__).parents[1] / "scripts" / "kill_and_resume.py"


@pytest.fixture(scope="module")
def killing():
    spec = importlib.util.spec_from_file_location("kill_and_resume", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class KilledError(Exception):
    """Ends a fit at once."""


def kill_after(n_epochs):
    def callback(epoch):
        if epoch.epoch == n_epochs:
            raise KilledError

    return callback


def interrupted(model, path, n_epochs, *data, every=1, **validation):
    """Fit until it is killed after some epochs."""
    model = clone(model).set_params(callbacks=[Checkpoint(path, every), kill_after(n_epochs)])
    with pytest.raises(KilledError):
        model.fit(*data, **validation)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"solver": "sgd", "learning_rate": "invscaling"},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 1, "n_iter_no_change": 2},
        {"solver": "sgd", "momentum": 0, "batch_size": 1},
        {"learning_rate": "cosine", "warmup_steps": 0.2},
        {"dropout": 0.3, "normalization": "layer", "l1": 0.01, "max_grad_norm": 0.5},
        {"early_stopping": True, "stratify": True, "n_iter_no_change": 3, "tol": 0.1},
        {"shuffle": False, "activation": "prelu"},
        {"tol": 1, "n_iter_no_change": 8},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_resumed_fit_is_exact(params, dtype, tmp_path, killing):
    model = MLPClassifier((8,), **{"random_state": 0, "max_iter": 15, "batch_size": 30, **params})
    inputs = X.astype(dtype)
    expected = clone(model).fit(inputs, Y)
    interrupted(model, tmp_path / "fit", 3, inputs, Y, every=2)
    resumed = resume(tmp_path / "fit", inputs, Y)
    assert killing.differences(resumed, expected) == []
    np.testing.assert_array_equal(resumed.predict_proba(inputs), expected.predict_proba(inputs))
    assert resumed.stop_reason_ == expected.stop_reason_
    # Random numbers, too, are where they would have been.
    assert resumed._random_state.randint(2**30) == expected._random_state.randint(2**30)


POSITIVE = np.abs(X[:, 0]) + 0.1
# Whatever is added to the tables must go through files, too.
VARIANTS = [
    *[(MLPClassifier, {"solver": name}) for name in SOLVERS if name != "lbfgs"],
    *[
        (MLPRegressor, {"solver": "sgd", "learning_rate": name, "learning_rate_init": 0.01})
        for name in (*SCHEDULES, *PLANS)
    ],
    *[
        (MLPRegressor, {"loss": name})
        for name, row in LOSSES.items()
        if row.task != "classification"
    ],
    (MLPRegressor, {"loss": "quantile", "quantile": [0.1, 0.5, 0.9]}),
    (MLPClassifier, {"loss": "focal"}),
    (MLPClassifier, {"label_smoothing": 0.1}),
    (MLPClassifier, {"class_weight": "balanced", "early_stopping": True, "scoring": "loss"}),
    (MLPClassifier, {"hidden_layer_sizes": (200, 200), "batch_size": 80, "n_jobs": 2}),
]


@pytest.mark.parametrize(("estimator", "params"), VARIANTS, ids=str)
def test_every_variant_comes_back_and_goes_on(estimator, params, tmp_path, killing):
    defaults = {"hidden_layer_sizes": (6, 5), "random_state": 1, "max_iter": 12, "batch_size": 16}
    model = estimator(**{**defaults, "tol": 0, **params})
    y = Y if estimator is MLPClassifier else POSITIVE
    expected = clone(model).fit(X, y)
    expected.save(tmp_path / "model")
    interrupted(model, tmp_path / "fit", 5, X, y)
    for other in (fastmlp.load(tmp_path / "model"), resume(tmp_path / "fit", X, y)):
        assert killing.differences(other, expected) == []
        assert vars(other._schedule) == vars(expected._schedule)
        np.testing.assert_array_equal(other.predict(X), expected.predict(X))
        assert other.score(X, y) == expected.score(X, y)


def test_a_fit_may_be_interrupted_again_and_again(tmp_path, killing):
    model = MLPRegressor(random_state=np.random.RandomState(5), max_iter=12, batch_size=30)
    expected = clone(model).fit(X, X[:, 0])
    interrupted(model, tmp_path / "fit", 2, X, X[:, 0])
    for n_epochs in (5, 6, 9):
        with pytest.raises(KilledError):
            resume(tmp_path / "fit", X, X[:, 0], callbacks=[kill_after(n_epochs)])
    resumed = resume(tmp_path / "fit", X, X[:, 0])
    assert killing.differences(resumed, expected) == []
    # Once it has come to its end, nothing is left to do.
    assert killing.differences(resume(tmp_path / "fit", X, X[:, 0]), expected) == []


def test_sparse_inputs_weights_and_validation_data(tmp_path, killing):
    inputs, weights = csr_array(X[:60]), np.linspace(0, 1, 60)
    validation = {"X_val": X[60:], "y_val": Y[60:]}
    model = MLPClassifier((8,), early_stopping=True, random_state=0, max_iter=12)
    expected = clone(model).fit(inputs, Y[:60], weights, **validation)
    interrupted(model, tmp_path / "fit", 4, inputs, Y[:60], weights, **validation)
    resumed = resume(tmp_path / "fit", inputs, Y[:60], weights, **validation)
    assert killing.differences(resumed, expected) == []


def test_other_data_are_refused(tmp_path):
    interrupted(MLPClassifier((8,), random_state=0), tmp_path / "fit", 2, X, Y)
    others = X.copy()
    others[7, 3] = np.nextafter(others[7, 3], 1)
    for data in ((others, Y), (X, np.roll(Y, 1)), (X[:-1], Y[:-1]), (X, Y, np.full(80, 2.0))):
        with pytest.raises(ValueError, match="must be those of the fit"):
            resume(tmp_path / "fit", *data)


def test_other_names_of_the_classes_are_refused(tmp_path):
    interrupted(MLPClassifier((8,), random_state=0), tmp_path / "fit", 2, X, Y)
    with pytest.raises(ValueError, match="classes"):
        resume(tmp_path / "fit", X, np.char.upper(Y))


def test_what_killed_writers_left_is_removed(tmp_path):
    interrupted(MLPClassifier((8,), random_state=0, max_iter=4), tmp_path / "fit", 2, X, Y)
    others = [".fit.tmp", ".fit.0123456789abcdef.tmp.old", ".fit2.0123456789abcdef.tmp"]
    for name in (*others, ".fit.0123456789abcdef.tmp"):
        (tmp_path / name).touch()
    resume(tmp_path / "fit", X, Y)
    assert {path.name for path in tmp_path.iterdir()} == {"fit", *others}


@pytest.mark.skipif(sys.platform == "win32", reason="directories are not opened there")
def test_what_reaches_the_disk_before_the_file_is_replaced(tmp_path, monkeypatch):
    model, events = MLPClassifier((8,), random_state=0, max_iter=2).fit(X, Y), []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor):
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        events.append("directory" if is_directory else "file")
        fsync(descriptor)

    def noted_replace(path, target):
        events.append("replaced")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    model.save(tmp_path / "model")
    assert events == ["file", "replaced", "directory"]
    events.clear()
    model.set_params(callbacks=[Checkpoint(tmp_path / "fit")]).fit(X, Y)
    assert events == 2 * ["file", "replaced"]  # what is replaced is whole, and that is enough


def test_a_model_is_no_checkpoint_but_a_checkpoint_is_a_model(tmp_path):
    model = MLPClassifier((8,), random_state=0, max_iter=3)
    interrupted(model, tmp_path / "fit", 2, X, Y)
    assert fastmlp.load(tmp_path / "fit").n_iter_ == 2
    model.fit(X, Y).save(tmp_path / "model")
    with pytest.raises(ValueError, match="no checkpoint"):
        resume(tmp_path / "model", X, Y)


def test_where_there_are_no_checkpoints(tmp_path):
    checkpoint = Checkpoint(tmp_path / "fit")
    with pytest.raises(ValueError, match="Checkpoint is for fit"):
        MLPClassifier(solver="lbfgs", callbacks=[checkpoint]).fit(X, Y)
    with pytest.raises(ValueError, match="Checkpoint is for fit"):
        MLPRegressor(callbacks=[checkpoint]).partial_fit(X, X[:, 0])
    for every in (0, 1.5, True):
        with pytest.raises(ValueError, match="every must be"):
            Checkpoint(tmp_path / "fit", every)


@pytest.mark.parametrize("name", ["early", "sgd"])
def test_40_kill_9(name, tmp_path, killing):
    expected = killing.make_model(name).fit(*killing.data())
    model, n_kills = killing.kill_and_resume(name, tmp_path, 3)
    assert n_kills == 3
    assert killing.differences(model, expected) == []
