"""Held-out samples: passed to ``fit`` or split off, their losses and scores, early stopping."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    make_scorer,
    mean_poisson_deviance,
    mean_squared_error,
)
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier, MLPRegressor
from tests.estimators.problems import TASKS, make_estimator, make_problem

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N_TRAIN = 40


def split_problem(task, **options):
    """Samples to train on and others, each X, y and weights."""
    arrays = make_problem(task, **options)
    return [array[:N_TRAIN] for array in arrays], [array[N_TRAIN:] for array in arrays]


def loss_of(model, X, y, sample_weight=None):
    """The loss of a fitted model, by scikit-learn's metrics."""
    if not hasattr(model, "predict_proba"):
        metric = {"poisson": mean_poisson_deviance}.get(model.loss, mean_squared_error)
        return metric(y, model.predict(X), sample_weight=sample_weight) / 2
    outputs = model.predict_proba(X)
    if y.ndim == 1:
        return log_loss(y, outputs, sample_weight=sample_weight, labels=model.classes_)
    return sum(
        log_loss(y[:, k], outputs[:, k], sample_weight=sample_weight) for k in range(y.shape[1])
    )


def after_each_epoch(model, n_epochs, X, y):
    """The models that fits of 1, 2, ... epochs give."""
    return [clone(model).set_params(max_iter=n).fit(X, y) for n in range(1, n_epochs + 1)]


# --------------------------------------------------------------------------------------
# Samples passed to fit
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_loss_curve_of_held_out_samples(task, is_weighted):
    (X, y, _), (X_val, y_val, weights) = split_problem(task)
    weights = weights if is_weighted else None
    model = make_estimator(task, hidden_layer_sizes=(6,), batch_size=8, random_state=0)
    expected = after_each_epoch(model, 4, X, y)
    model.set_params(max_iter=4).fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights)
    np.testing.assert_allclose(
        model.validation_loss_curve_, [loss_of(other, X_val, y_val, weights) for other in expected]
    )
    # They are watched, and nothing else.
    np.testing.assert_array_equal(model.coefs_[0], expected[-1].coefs_[0])
    assert model.loss_curve_ == expected[-1].loss_curve_
    assert model.best_loss_ == expected[-1].best_loss_
    assert model.validation_scores_ is None


@pytest.mark.parametrize("task", TASKS)
def test_early_stopping_on_samples_passed_to_fit(task):
    (X, y, _), (X_val, y_val, weights) = split_problem(task)
    model = make_estimator(
        task, hidden_layer_sizes=(20,), learning_rate_init=0.05, n_iter_no_change=3, random_state=0
    )
    model.set_params(early_stopping=True, max_iter=300)
    model.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights)
    assert model.stop_reason_ == "converged"
    # All of X is trained on.
    assert model.t_ == N_TRAIN * model.n_iter_
    plain = clone(model).set_params(early_stopping=False, n_iter_no_change=np.inf)
    expected = after_each_epoch(plain, model.n_iter_, X, y)
    scores = [other.score(X_val, y_val, weights) for other in expected]
    np.testing.assert_allclose(model.validation_scores_, scores)
    assert model.best_validation_score_ == pytest.approx(max(scores))
    # The weights of the best epoch are kept.
    best = expected[int(np.argmax(scores))]
    np.testing.assert_allclose(model.coefs_[0], best.coefs_[0], rtol=1e-12)
    assert model.score(X_val, y_val, weights) == pytest.approx(max(scores))


def test_column_vector_sparse_matrix_and_float32():
    (X, y, _), (X_val, y_val, _) = split_problem("regression")
    model = MLPRegressor(max_iter=3, random_state=0)
    expected = clone(model).fit(X, y, X_val=X_val, y_val=y_val).validation_loss_curve_
    for other in (csr_array(X_val), X_val.astype(np.float32), np.asfortranarray(X_val)):
        actual = clone(model).fit(X, y, X_val=other, y_val=y_val).validation_loss_curve_
        np.testing.assert_allclose(actual, expected, rtol=1e-6)
    model.fit(X.astype(np.float32), y, X_val=X_val, y_val=y_val)
    np.testing.assert_allclose(model.validation_loss_curve_, expected, rtol=1e-4)


def test_validation_data_with_names_and_with_one_class_only():
    (X, y, _), (X_val, y_val, _) = split_problem("binary")
    frame, frame_val = (pd.DataFrame(array, columns=list("abcde")) for array in (X, X_val))
    model = MLPClassifier(max_iter=2, random_state=0)
    model.fit(frame, y, X_val=frame_val[y_val == "no"], y_val=y_val[y_val == "no"])
    only = loss_of(model, frame_val[y_val == "no"], y_val[y_val == "no"])
    assert model.validation_loss_curve_[-1] == pytest.approx(only)
    with pytest.raises(ValueError, match=r"(?s)X_val or y_val is invalid: .*feature names"):
        model.fit(frame, y, X_val=frame_val[list("edcba")], y_val=y_val)


@pytest.mark.parametrize(
    ("task", "change", "match"),
    [
        ("binary", {"y_val": None}, "^X_val is provided, but y_val was not provided"),
        ("binary", {"X_val": None}, "^y_val is provided, but X_val was not provided"),
        (
            "binary",
            {"X_val": None, "y_val": None, "sample_weight_val": [1.0]},
            "^sample_weight_val is provided, but X_val was not provided",
        ),
        ("binary", {"X_val": np.zeros((20, 4))}, "^X_val or y_val is invalid: X has 4 features"),
        ("binary", {"X_val": np.full((20, 5), np.nan)}, "^X_val or y_val is invalid: .*NaN"),
        ("binary", {"X_val": np.zeros((19, 5))}, "invalid: .*inconsistent numbers of samples"),
        ("binary", {"y_val": ["maybe"] * 20}, "invalid: `y` has classes not in `self.classes_`"),
        ("multiclass", {"y_val": np.arange(20)}, "invalid: `y` has classes not in"),
        ("multilabel", {"y_val": np.zeros((20, 2), int)}, r"invalid: .* shape \(n_samples, 3\)"),
        ("multilabel", {"y_val": np.zeros(20, int)}, r"invalid: .* shape \(n_samples, 3\)"),
        ("multioutput", {"y_val": np.zeros((20, 2))}, r"invalid: y must have 3 output\(s\), got 2"),
        ("regression", {"y_val": ["a"] * 20}, "^X_val or y_val is invalid"),
        ("poisson", {"y_val": -np.ones(20)}, "invalid: .* out of the valid range of the loss"),
        ("binary", {"sample_weight_val": np.ones(3)}, r"^sample_weight_val.shape == \(3,\)"),
        ("binary", {"sample_weight_val": -np.ones(20)}, "passed to `sample_weight_val`"),
    ],
)
def test_bad_validation_data(task, change, match):
    (X, y, _), (X_val, y_val, _) = split_problem(task)
    model = make_estimator(task)
    with pytest.raises(ValueError, match=match):
        model.fit(X, y, **{"X_val": X_val, "y_val": y_val, **change})
    assert not hasattr(model, "coefs_")


def test_messages_are_those_of_gradient_boosting():
    (X, y, _), (X_val, y_val, _) = split_problem("binary")
    for keywords in ({"X_val": X_val}, {"y_val": y_val}):
        messages = []
        for model in (MLPClassifier(), HistGradientBoostingClassifier()):
            with pytest.raises(ValueError, match="was not provided") as error:
                model.fit(X, y, **keywords)
            messages.append(str(error.value))
        assert messages[0] == messages[1]


def test_lbfgs_makes_no_use_of_validation_data():
    (X, y, _), (X_val, y_val, _) = split_problem("binary")
    with pytest.raises(ValueError, match="solver='lbfgs' makes no use of validation data"):
        MLPClassifier(solver="lbfgs").fit(X, y, X_val=X_val, y_val=y_val)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_pipeline_transforms_validation_data(early_stopping, enable_metadata_routing):
    (X, y, _), (X_val, y_val, _) = split_problem("binary")
    X, X_val = 100 * X + 7, 100 * X_val + 7
    model = MLPClassifier((5,), max_iter=5, random_state=0, early_stopping=early_stopping)
    scaler = StandardScaler().fit(X)
    expected = clone(model).fit(scaler.transform(X), y, X_val=scaler.transform(X_val), y_val=y_val)
    model.set_fit_request(X_val=True, y_val=True)
    pipeline = make_pipeline(StandardScaler(), model, transform_input=["X_val"])
    actual = pipeline.fit(X, y, X_val=X_val, y_val=y_val)[-1]
    np.testing.assert_allclose(actual.validation_loss_curve_, expected.validation_loss_curve_)
    assert actual.validation_scores_ == expected.validation_scores_


@pytest.fixture
def enable_metadata_routing():
    from sklearn import config_context

    with config_context(enable_metadata_routing=True):
        yield


def test_warm_start_with_and_without_validation_data():
    (X, y, _), (X_val, y_val, _) = split_problem("regression")
    model = MLPRegressor(max_iter=2, warm_start=True, random_state=0).fit(X, y)
    assert model.validation_loss_curve_ is None
    model.fit(X, y, X_val=X_val, y_val=y_val)
    assert np.isnan(model.validation_loss_curve_).tolist() == [True, True, False, False]


# --------------------------------------------------------------------------------------
# What early stopping goes by
# --------------------------------------------------------------------------------------


SCORERS = {
    "binary": ["loss", "roc_auc", "neg_log_loss", "balanced_accuracy"],
    "multiclass": ["loss", "f1_macro", "neg_log_loss"],
    "multilabel": ["loss", "f1_micro", "accuracy"],
    "regression": ["loss", "neg_mean_absolute_error"],
    "multioutput": ["loss", "neg_root_mean_squared_error"],
    "poisson": ["loss", "neg_mean_poisson_deviance"],
}


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize(
    ("task", "scoring"), [(task, name) for task, names in SCORERS.items() for name in names]
)
def test_scoring(task, scoring, is_weighted):
    (X, y, _), (X_val, y_val, weights) = split_problem(task)
    weights = weights if is_weighted else None
    model = make_estimator(task, hidden_layer_sizes=(6,), batch_size=8, random_state=0, max_iter=4)
    expected = after_each_epoch(model, 4, X, y)
    model.set_params(early_stopping=True, scoring=scoring)
    model.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weights)
    if scoring == "loss":
        scores = [-loss_of(other, X_val, y_val, weights) for other in expected]
    else:
        from sklearn.metrics import get_scorer

        keywords = {"sample_weight": weights} if is_weighted else {}
        scores = [get_scorer(scoring)(other, X_val, y_val, **keywords) for other in expected]
    np.testing.assert_allclose(model.validation_scores_, scores)
    np.testing.assert_allclose(
        model.validation_loss_curve_, [loss_of(other, X_val, y_val, weights) for other in expected]
    )
    best = expected[int(np.argmax(scores))]
    np.testing.assert_allclose(model.coefs_[0], best.coefs_[0], rtol=1e-12)


@pytest.mark.parametrize("task", TASKS)
def test_scoring_on_the_samples_that_are_split_off(task):
    X, y, _ = make_problem(task)
    seen = []

    def scorer(model, X_val, y_val):
        seen.append((X_val, y_val))
        return model.score(X_val, y_val)

    model = make_estimator(task, max_iter=3, early_stopping=True, scoring=scorer, random_state=0)
    model.fit(X, y)
    plain = clone(model).set_params(scoring=None).fit(X, y)
    np.testing.assert_allclose(model.validation_scores_, plain.validation_scores_)
    np.testing.assert_array_equal(model.coefs_[0], plain.coefs_[0])
    assert len(seen) == 3
    X_val, y_val = seen[0]
    rows = [int(np.flatnonzero((row == X).all(axis=1))[0]) for row in X_val]
    np.testing.assert_array_equal(y[rows], y_val)
    assert len(rows) == 6


def test_scorer_of_a_model_with_feature_names_gives_no_warning():
    X, y, _ = make_problem("binary")
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = MLPClassifier(early_stopping=True, scoring="roc_auc", max_iter=2, random_state=0)
    model.fit(frame, y)
    assert list(model.feature_names_in_) == list("abcde")
    assert len(model.validation_scores_) == 2


@pytest.mark.parametrize("early_stopping", [False, True])
def test_unknown_scorer(early_stopping):
    X, y, _ = make_problem("binary")
    model = MLPClassifier(scoring="fidelity", early_stopping=early_stopping)
    with pytest.raises(ValueError, match=r"The 'scoring' parameter .* Got 'fidelity' instead"):
        model.fit(X, y)
    assert not hasattr(model, "coefs_")


def test_scorer_made_of_a_metric():
    (X, y, _), (X_val, y_val, _) = split_problem("binary")
    model = MLPClassifier(max_iter=3, early_stopping=True, random_state=0)
    model.set_params(scoring=make_scorer(accuracy_score))
    scores = clone(model).fit(X, y, X_val=X_val, y_val=y_val).validation_scores_
    model.set_params(scoring=None).fit(X, y, X_val=X_val, y_val=y_val)
    assert scores == model.validation_scores_


def test_scores_are_scikit_learns_by_default():
    # The whole trajectory is compared in test_parity; here is what is new beside it.
    X, y, _ = make_problem("multiclass")
    model = MLPClassifier(max_iter=3, early_stopping=True, random_state=0).fit(X, y)
    assert len(model.validation_loss_curve_) == len(model.validation_scores_) == 3
    assert MLPClassifier(max_iter=3).fit(X, y).validation_loss_curve_ is None
    assert not hasattr(MLPClassifier(solver="lbfgs").fit(X, y), "validation_loss_curve_")


def test_loss_that_is_not_finite_is_no_reason_to_fail():
    (X, y, _), (X_val, y_val, _) = split_problem("regression")
    model = MLPRegressor(max_iter=2, random_state=0)
    model.fit(X, y, X_val=1e300 * X_val, y_val=y_val)
    assert not np.isfinite(model.validation_loss_curve_).any()


# --------------------------------------------------------------------------------------
# The split
# --------------------------------------------------------------------------------------


def held_out_labels(y, **parameters):
    """The labels that a fit on y holds out."""
    kept = []

    def scorer(model, X_val, y_val):
        kept.append(y_val)
        return 0.0

    X = np.random.RandomState(0).normal(size=(len(y), 2))
    MLPClassifier(
        early_stopping=True, scoring=scorer, max_iter=1, random_state=3, validation_fraction=0.5,
        **parameters,
    ).fit(X, y)  # fmt: skip
    return kept[0]


MULTILABEL = np.repeat([[0, 0], [1, 0], [1, 1]], [40, 20, 20], axis=0)


@pytest.mark.parametrize(
    ("y", "stratify", "is_stratified"),
    [
        (np.repeat([0, 1], [60, 20]), None, True),
        (np.repeat([0, 1], [60, 20]), True, True),
        (np.repeat([0, 1], [60, 20]), False, False),
        (np.repeat(["a", "b", "c"], [40, 20, 20]), None, False),
        (np.repeat(["a", "b", "c"], [40, 20, 20]), True, True),
        (np.repeat(["a", "b", "c"], [40, 20, 20]), np.True_, True),
        (np.repeat(["a", "b", "c"], [40, 20, 20]), False, False),
        (MULTILABEL, None, False),
        (MULTILABEL, True, True),
    ],
)
def test_stratified_split(y, stratify, is_stratified):
    held_out = held_out_labels(y, stratify=stratify)
    expected = train_test_split(
        np.arange(80),
        random_state=_after_initialisation(y),
        test_size=0.5,
        stratify=y if is_stratified else None,
    )[1]
    np.testing.assert_array_equal(held_out, y[expected])
    if is_stratified:
        counts = np.unique(held_out, axis=0, return_counts=True)[1]
        np.testing.assert_array_equal(counts, np.unique(y, axis=0, return_counts=True)[1] / 2)


def _after_initialisation(y):
    """The generator once the initial weights, of 100 hidden units, were drawn."""
    n_outputs = 2 if y.ndim == 2 else 1 if len(np.unique(y)) == 2 else 3
    rng = np.random.RandomState(3)
    rng.uniform(size=(2 + 1) * 100 + (100 + 1) * n_outputs)
    return rng


def test_stratified_split_with_squared_error():
    held_out = held_out_labels(
        np.repeat(["a", "b", "c"], [40, 20, 20]), stratify=True, loss="squared_error"
    )
    assert np.unique(held_out, return_counts=True)[1].tolist() == [20, 10, 10]


def test_class_that_is_too_rare_to_stratify():
    with pytest.raises(ValueError, match="least populated class"):
        held_out_labels(np.repeat([0, 1, 2], [40, 39, 1]), stratify=True)


def test_scorers_of_all_tasks_are_tested():
    assert set(SCORERS) == set(TASKS)
