"""What is called after each epoch: own callables, scikit-learn's callbacks, the progress bar."""

import builtins
import re
import threading
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.estimators.callbacks import Epoch
from fastmlp.training import threads
from tests.estimators.problems import TASKS, make_estimator, make_problem

callback = pytest.importorskip("sklearn.callback")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SOLVERS = ["adam", "sgd", "lbfgs"]


def predictions(model, X):
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


# --------------------------------------------------------------------------------------
# Own callables
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("task", TASKS)
def test_callback_sees_the_model_of_each_epoch(task, solver):
    X, y, _ = make_problem(task)
    seen = []

    def note(epoch):
        model = epoch.estimator
        seen.append((epoch, model.loss_, model.n_iter_, predictions(model, X)))

    model = make_estimator(task, solver=solver, max_iter=4, random_state=0)
    plain = clone(model)
    model.set_params(callbacks=[note]).fit(X, y)
    assert [epoch.epoch for epoch, *_ in seen] == [1, 2, 3, 4]
    for n_epochs, (epoch, loss, n_iter, outputs) in enumerate(seen, 1):
        expected = clone(plain).set_params(max_iter=n_epochs).fit(X, y)
        np.testing.assert_allclose(outputs, predictions(expected, X), rtol=1e-12)
        assert isinstance(epoch, Epoch)
        assert epoch.estimator is model
        assert epoch.max_iter == 4
        assert (epoch.loss, n_iter) == (loss, n_epochs) == (pytest.approx(expected.loss_), n_epochs)
        assert epoch.validation_loss is epoch.validation_score is None
        if solver == "lbfgs":
            assert np.isnan(epoch.learning_rate)
        else:
            assert epoch.learning_rate == 0.001
            assert epoch.samples_seen == 60 * n_epochs
    assert all(a[0].seconds < b[0].seconds for a, b in pairwise(seen))
    np.testing.assert_array_equal(model.coefs_[0], plain.fit(X, y).coefs_[0])


def test_callback_is_told_what_early_stopping_knows():
    X, y, _ = make_problem("binary")
    epochs = []
    model = MLPClassifier(
        callbacks=[epochs.append], early_stopping=True, n_iter_no_change=2, solver="sgd",
        learning_rate="invscaling", tol=0.5, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert [epoch.validation_score for epoch in epochs] == model.validation_scores_
    assert [epoch.validation_loss for epoch in epochs] == model.validation_loss_curve_
    assert [epoch.loss for epoch in epochs] == model.loss_curve_
    rates = [0.001 / (54 * k + 1) ** 0.5 if k else 0.001 for k in range(len(epochs))]
    np.testing.assert_allclose([epoch.learning_rate for epoch in epochs], rates)
    assert [epoch.stop_reason for epoch in epochs] == [None] * (len(epochs) - 1) + ["converged"]


@pytest.mark.parametrize("true", [True, np.True_])
@pytest.mark.parametrize("solver", SOLVERS)
def test_callback_ends_training_by_returning_true(solver, true):
    X, y, _ = make_problem("regression")
    others = []
    model = MLPRegressor(solver=solver, max_iter=9, random_state=0)
    expected = clone(model).set_params(max_iter=3).fit(X, y)
    model.set_params(callbacks=[lambda epoch: epoch.epoch == 3 and true, others.append])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y)
    assert (model.n_iter_, model.stop_reason_) == (3, "callback")
    assert len(others) == 3  # each is called, though the first said stop
    np.testing.assert_allclose(model.coefs_[0], expected.coefs_[0], rtol=1e-12)


@pytest.mark.parametrize("answer", [None, False, 1, "yes", [True], np.array([1, 1])])
def test_other_answers_are_no_wish_to_stop(answer):
    X, y, _ = make_problem("regression")
    model = MLPRegressor(callbacks=[lambda epoch: answer], max_iter=3).fit(X, y)
    assert (model.n_iter_, model.stop_reason_) == (3, "max_iter")


def test_best_epoch_is_restored_when_a_callback_ends_training():
    X, y, _ = make_problem("binary")
    scores = iter([0.2, 0.9, 0.1, 0.1])
    model = MLPClassifier(
        callbacks=[lambda epoch: epoch.epoch == 4], early_stopping=True, random_state=0,
        scoring=lambda estimator, X, y: next(scores),
    ).fit(X, y)  # fmt: skip
    assert model.n_iter_ == 4
    expected = MLPClassifier(
        max_iter=2, early_stopping=True, random_state=0, scoring=lambda estimator, X, y: 0.0
    )
    kept = []
    expected.set_params(callbacks=[lambda epoch: kept.append(epoch.estimator.coefs_[0].copy())])
    expected.fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], kept[1])


def test_partial_fit_calls_back():
    X, y, _ = make_problem("binary")
    epochs = []
    model = MLPClassifier(callbacks=[epochs.append])
    for _ in range(2):
        model.partial_fit(X, y, classes=["no", "yes"])
    assert [epoch.epoch for epoch in epochs] == [1, 1]
    assert [epoch.samples_seen for epoch in epochs] == [60, 120]


@pytest.mark.parametrize("solver", SOLVERS)
def test_error_in_a_callback_is_passed_on(solver):
    X, y, _ = make_problem("regression")

    def fail(epoch):
        if epoch.epoch == 2:
            raise RuntimeError("enough")

    model = MLPRegressor(callbacks=[fail], solver=solver, random_state=0)
    with pytest.raises(RuntimeError, match="enough"):
        model.fit(X, y)
    assert model.stop_reason_ is None
    expected = MLPRegressor(solver=solver, max_iter=2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))


@pytest.mark.parametrize("solver", SOLVERS)
def test_interrupt_in_a_callback_is_an_interrupt(solver):
    X, y, _ = make_problem("regression")

    def interrupt(epoch):
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    model = MLPRegressor(callbacks=[interrupt], solver=solver, random_state=0)
    with pytest.warns(UserWarning, match="^Training interrupted by user.$"):
        model.fit(X, y)
    assert (model.n_iter_, model.stop_reason_) == (2, "interrupted")


def test_warnings_point_to_the_caller_of_fit():
    X, y, _ = make_problem("regression")
    for model in (MLPRegressor(max_iter=1), MLPRegressor(max_iter=1, solver="lbfgs")):
        with pytest.warns(ConvergenceWarning) as caught:
            model.fit(X, y)
        assert [warning.filename for warning in caught] == [__file__]


def test_warnings_reach_code_without_a_module():
    code = "MLPRegressor(max_iter=1).fit([[0.0], [1.0]], [0.0, 1.0])"
    with pytest.warns(ConvergenceWarning) as caught:
        exec(compile(code, "a string", "exec"), {"MLPRegressor": MLPRegressor})
    assert [warning.filename for warning in caught] == ["a string"]


# --------------------------------------------------------------------------------------
# scikit-learn's callbacks
# --------------------------------------------------------------------------------------


class Recorder:
    """A callback that follows scikit-learn's protocol and keeps all it is told."""

    def __init__(self, stops_at=None):
        self.events, self.stops_at = [], stops_at

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, fitted_estimator=None):
        self.events.append((f"begin {context.task_name}", context.task_id))

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        event = (f"end {context.task_name}", context.task_id, X, y, metadata, fitted_estimator)
        self.events.append(event)
        return context.task_name == "epoch" and context.task_id == self.stops_at

    def named(self, name):
        return [event for event in self.events if event[0] == name]


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_fitted_estimator_is_that_of_each_epoch(task, early_stopping):
    X, y, sample_weight = make_problem(task)
    recorder = Recorder()
    model = make_estimator(
        task, max_iter=3, random_state=0, early_stopping=early_stopping, hidden_layer_sizes=(4,),
        activation="prelu",
    )  # fmt: skip
    plain = clone(model)
    model.set_callbacks(recorder).fit(X, y, sample_weight)
    names = [event if isinstance(event, str) else event[:2] for event in recorder.events]
    assert names == [
        "setup", ("begin fit", 0),
        *[(f"{when} epoch", k) for k in range(3) for when in ("begin", "end")],
        ("end fit", 0), "teardown",
    ]  # fmt: skip
    for n_epochs, event in enumerate([*recorder.named("end epoch"), recorder.events[-2]], 1):
        _, _, X_seen, y_seen, metadata, fitted = event
        expected = clone(plain).set_params(max_iter=min(n_epochs, 3)).fit(X, y, sample_weight)
        np.testing.assert_allclose(predictions(fitted, X), predictions(expected, X), rtol=1e-12)
        n_seen = 54 if early_stopping else 60
        assert len(X_seen) == len(y_seen) == len(metadata["sample_weight"]) == n_seen
        rows = [int(np.flatnonzero((row == X).all(axis=1))[0]) for row in X_seen]
        np.testing.assert_array_equal(y[rows], y_seen)
        np.testing.assert_array_equal(sample_weight[rows], metadata["sample_weight"])
    np.testing.assert_array_equal(model.coefs_[0], plain.fit(X, y, sample_weight).coefs_[0])


def test_lbfgs_has_iterations():
    X, y, _ = make_problem("regression")
    recorder = Recorder()
    model = MLPRegressor(solver="lbfgs", max_iter=3, random_state=0).set_callbacks(recorder)
    model.fit(X, y)
    ends = recorder.named("end iteration")
    assert len(ends) == len(recorder.named("begin iteration")) == 3
    for n_iter, (*_, fitted) in enumerate(ends, 1):
        expected = MLPRegressor(solver="lbfgs", max_iter=n_iter, random_state=0).fit(X, y)
        np.testing.assert_allclose(fitted.predict(X), expected.predict(X))
    # Where it converges before, one iteration was begun and never done.
    recorder.events.clear()
    model.set_params(max_iter=1000, tol=10, hidden_layer_sizes=()).fit(X, y)
    assert model.stop_reason_ == "converged"
    assert len(recorder.named("begin iteration")) == len(recorder.named("end iteration"))
    assert recorder.events[-1] == "teardown"


@pytest.mark.parametrize("stops_at", [0, 2])
def test_sklearn_callback_ends_training(stops_at):
    X, y, _ = make_problem("regression")
    recorder = Recorder(stops_at)
    model = MLPRegressor(max_iter=5, random_state=0).set_callbacks(recorder).fit(X, y)
    assert (model.n_iter_, model.stop_reason_) == (stops_at + 1, "callback")
    assert len(recorder.named("begin epoch")) == stops_at + 1


def test_no_epoch_is_begun_after_an_own_callback_said_stop():
    X, y, _ = make_problem("regression")
    recorder = Recorder()
    model = MLPRegressor(callbacks=[lambda epoch: epoch.epoch == 2]).set_callbacks(recorder)
    model.fit(X, y)
    assert len(recorder.named("begin epoch")) == len(recorder.named("end epoch")) == 2


def test_callbacks_are_torn_down_after_an_error():
    X, y, _ = make_problem("regression")
    recorder = Recorder()
    model = MLPRegressor().set_callbacks(recorder)
    with pytest.raises(ValueError, match="non-finite"):
        model.fit(1e307 * X, y)
    assert recorder.events[-1] == "teardown"
    # It can be fitted again.
    assert model.fit(X, y).n_iter_ > 1


@pytest.mark.parametrize("when", ["own", "sklearn", "setup", "stop"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_35_whatever_a_callback_does_all_is_torn_down_and_the_model_consistent(solver, when):
    X, y, _ = make_problem("regression")

    class Failing(Recorder):
        def setup(self, estimator, context):
            super().setup(estimator, context)
            if when == "setup":
                raise RuntimeError("enough")

        def on_fit_task_end(self, estimator, context, **arguments):
            super().on_fit_task_end(estimator, context, **arguments)
            if when == "sklearn" and context.task_id == 1:
                raise RuntimeError("enough")

    def own(epoch):
        if when == "own" and epoch.epoch == 2:
            raise RuntimeError("enough")
        return when == "stop" and epoch.epoch == 2

    first, last = Recorder(), Failing()
    model = MLPRegressor(solver=solver, callbacks=[own], n_jobs=2, random_state=0)
    model.set_callbacks(first, last)
    n_threads = threading.active_count()
    if when == "stop":
        model.fit(X, y)
    else:
        with pytest.raises(RuntimeError, match="enough"):
            model.fit(X, y)
    assert first.events[-1] == last.events[-1] == "teardown"
    assert threading.active_count() == n_threads
    assert threads._shared.reserved == threads._shared.blas_users == 0
    if when != "setup":
        expected = MLPRegressor(solver=solver, n_jobs=2, max_iter=2, random_state=0).fit(X, y)
        np.testing.assert_array_equal(model.predict(X), expected.predict(X))
        assert (model.n_iter_, model.loss_) == (2, expected.loss_)
        assert not hasattr(model, "_training")  # it would hold the data
    # It can be fitted again, and nothing of this is left.
    anew = MLPRegressor(solver=solver, n_jobs=2, max_iter=5, random_state=0).fit(X, y)
    again = model.set_callbacks().set_params(callbacks=None, max_iter=5).fit(X, y)
    np.testing.assert_array_equal(again.predict(X), anew.predict(X))


def test_partial_fit_is_no_task():
    X, y, _ = make_problem("regression")
    recorder = Recorder()
    MLPRegressor().set_callbacks(recorder).partial_fit(X, y)
    assert recorder.events == []


def test_no_callbacks_leave_no_trace():
    X, y, _ = make_problem("regression")
    model = MLPRegressor(max_iter=1).set_callbacks(Recorder()).fit(X, y).set_callbacks()
    assert not [name for name in vars(model) if "callback" in name and name != "callbacks"]


@pytest.mark.parametrize("solver", SOLVERS)
def test_progress_bar_of_sklearn(solver, capsys):
    pytest.importorskip("rich")
    X, y, _ = make_problem("binary")
    model = MLPClassifier(solver=solver, max_iter=3, random_state=0)
    expected = clone(model).fit(X, y)
    model.set_callbacks(callback.ProgressBar()).fit(X, y)
    printed = capsys.readouterr().out
    assert "MLPClassifier - fit" in printed
    assert "100%" in printed
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])


@pytest.mark.parametrize("is_frame", [False, True])
def test_scoring_monitor_of_sklearn(is_frame):
    X, y, _ = make_problem("binary")
    X = pd.DataFrame(X, columns=list("abcde")) if is_frame else X
    monitor = callback.ScoringMonitor(scoring="roc_auc")
    model = MLPClassifier(max_iter=4, random_state=0).set_callbacks(monitor).fit(X, y)
    log = monitor.get_logs().data_as_pandas
    assert log["task_name"].tolist() == ["fit"] + ["epoch"] * 4
    from sklearn.metrics import get_scorer

    scorer = get_scorer("roc_auc")
    expected = [
        scorer(MLPClassifier(max_iter=n, random_state=0).fit(X, y), X, y) for n in (1, 2, 3, 4)
    ]
    np.testing.assert_allclose(log["roc_auc"][1:], expected)
    assert log["roc_auc"][0] == scorer(model, X, y)


def test_callbacks_of_a_pipeline_in_a_search(capsys):
    pytest.importorskip("rich")
    X, y, _ = make_problem("binary")
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=2, random_state=0))
    monitor = callback.ScoringMonitor(scoring="accuracy")
    pipeline[-1].set_callbacks(monitor)
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [0.1, 1]}, cv=2)
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(X, y)
    epochs = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(epochs) == (2 * 2 + 1) * 2
    printed = capsys.readouterr().out
    assert "GridSearchCV" in printed
    assert "MLPClassifier - fit" in printed


def test_without_sklearns_callbacks_all_else_works(monkeypatch):
    import subprocess
    import sys

    script = (
        "import sys\n"
        "import sklearn.preprocessing, sklearn.model_selection, sklearn.pipeline\n"
        "sys.modules['sklearn.callback'] = None\n"
        "from fastmlp import MLPRegressor\n"
        "model = MLPRegressor(tol=9, callbacks=[lambda epoch: None]).fit([[0.0], [1.0]], [0, 1])\n"
        "print(model.stop_reason_, hasattr(model, 'set_callbacks'))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert result.stdout.split() == ["converged", "False"]


# --------------------------------------------------------------------------------------
# The progress bar
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_progress_bar(solver, capsys):
    pytest.importorskip("rich")
    X, y, _ = make_problem("binary")
    model = MLPClassifier(solver=solver, max_iter=3, random_state=0)
    expected = clone(model).fit(X, y)
    model.set_params(verbose="progress").fit(X, y)
    printed = capsys.readouterr().out
    assert "MLPClassifier" in printed
    assert "3/3" in printed
    assert f"loss {model.loss_:.4f}" in printed
    assert "Iteration" not in printed
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])


def test_progress_bar_of_early_stopping_is_full_at_the_end(capsys):
    pytest.importorskip("rich")
    X, y, _ = make_problem("binary")
    model = MLPClassifier(
        verbose="progress", early_stopping=True, n_iter_no_change=2, tol=9, random_state=0
    ).fit(X, y)
    printed = capsys.readouterr().out
    assert f"{model.n_iter_}/{model.n_iter_}" in printed
    last = f"val {model.validation_loss_curve_[-1]:.4f}, score {model.validation_scores_[-1]:.4f}"
    assert last in printed


@pytest.fixture
def without_rich(monkeypatch):
    """Let nobody import rich."""
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == "rich":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_progress_without_rich_is_one_line(is_terminal, without_rich, capsys, monkeypatch):
    import sys

    X, y, _ = make_problem("regression")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
    model = MLPRegressor(verbose="progress", max_iter=3).fit(X, y)
    printed = capsys.readouterr().out
    last = f"MLPRegressor 3/3 loss {model.loss_:.4f}\n"
    if is_terminal:
        assert re.match(r"^\rMLPRegressor 1/3 loss [\d.]+.*\r", printed)
        assert printed.endswith("\r" + last)
    else:
        assert printed == last
