"""``class_weight`` multiplies the weights of samples, as scikit-learn computes them."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier
from sklearn.utils.class_weight import compute_sample_weight

from fastmlp import MLPClassifier
from tests.estimators.problems import make_problem

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

WEIGHTS = {
    "binary": [{"no": 3, "yes": 0.5}, {"no": 0}, "balanced"],
    "multiclass": [{0: 1.5, 10: 2, 20: 0.3}, {10: 5}, "balanced"],
    "multilabel": [[{0: 2, 1: 0.5}, {1: 3}, None], ["balanced", {0: 1}, {1: 0}], "balanced"],
}
CASES = [(task, weights) for task, many in WEIGHTS.items() for weights in many]


def imbalanced(task):
    """Samples of which one class is rare."""
    X, y, sample_weight = make_problem(task, n_samples=90)
    first = y[:, 0] == 1 if task == "multilabel" else y == np.unique(y)[0]
    kept = ~first | (np.arange(90) % 3 == 0)
    return X[kept], y[kept], sample_weight[kept]


def expected_weight(class_weight, y):
    """What scikit-learn makes of it; its check of lists does not know None."""
    if isinstance(class_weight, list):
        columns = zip(class_weight, y.T, strict=True)
        return np.prod(
            [compute_sample_weight(weight, column) for weight, column in columns], axis=0
        )
    return compute_sample_weight(class_weight, y)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize(("task", "class_weight"), CASES)
def test_is_the_same_as_weights_of_samples(task, class_weight, solver, is_weighted, dtype):
    X, y, sample_weight = imbalanced(task)
    X = X.astype(dtype)
    model = MLPClassifier((4,), solver=solver, max_iter=5, batch_size=16, random_state=0)
    weights = expected_weight(class_weight, y) * (sample_weight if is_weighted else 1)
    expected = clone(model).fit(X, y, weights)
    unweighted = clone(model).fit(X, y, sample_weight if is_weighted else None)
    model.set_params(class_weight=class_weight)
    actual = model.fit(X, y, sample_weight if is_weighted else None)
    for ours, theirs in zip(actual.coefs_, expected.coefs_, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10 if dtype == np.float64 else 1e-3)
    assert not np.allclose(actual.coefs_[0], unweighted.coefs_[0], rtol=1e-3)


@pytest.mark.parametrize(("task", "class_weight"), CASES)
def test_early_stopping_weighs_what_it_holds_out(task, class_weight):
    X, y, _ = imbalanced(task)
    model = MLPClassifier(
        (4,), max_iter=5, random_state=0, early_stopping=True, validation_fraction=0.4
    )
    expected = clone(model).fit(X, y, expected_weight(class_weight, y))
    model.set_params(class_weight=class_weight).fit(X, y)
    np.testing.assert_allclose(model.validation_scores_, expected.validation_scores_)
    np.testing.assert_allclose(model.validation_loss_curve_, expected.validation_loss_curve_)


@pytest.mark.parametrize(
    ("task", "class_weight"),
    [(task, weights) for task, weights in CASES if "balanced" not in weights],
)
def test_partial_fit(task, class_weight):
    X, y, sample_weight = imbalanced(task)
    weights = expected_weight(class_weight, y) * sample_weight
    model = MLPClassifier((4,), random_state=0)
    expected, actual = clone(model), model.set_params(class_weight=class_weight)
    classes = range(3) if task == "multilabel" else np.unique(y)
    for _ in range(3):
        for part in (slice(40), slice(40, None)):
            # A chunk may lack classes: their weights are known all the same.
            expected.partial_fit(X[part], y[part], weights[part], classes)
            actual.partial_fit(X[part], y[part], sample_weight[part], classes)
    np.testing.assert_allclose(actual.coefs_[0], expected.coefs_[0], rtol=1e-10)


def test_partial_fit_on_a_chunk_without_the_class_that_is_weighted():
    X, y, _ = imbalanced("multiclass")
    chunk = y == 20
    model = MLPClassifier(class_weight={10: 7}, random_state=0)
    model.partial_fit(X[chunk], y[chunk], classes=[0, 10, 20])
    expected = MLPClassifier(random_state=0).partial_fit(X[chunk], y[chunk], classes=[0, 10, 20])
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])


def test_balanced_in_partial_fit_is_refused_with_the_words_of_sklearn():
    X, y, _ = imbalanced("binary")
    messages = []
    for model in (MLPClassifier(class_weight="balanced"), SGDClassifier(class_weight="balanced")):
        with pytest.raises(ValueError, match="is not supported for partial_fit") as error:
            model.partial_fit(X, y, classes=np.unique(y))
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_balanced_for_one_label_in_partial_fit_is_refused():
    X, y, _ = imbalanced("multilabel")
    model = MLPClassifier(class_weight=["balanced", None, None])
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        model.partial_fit(X, y, classes=[0, 1, 2])


def test_held_out_samples_have_the_weights_of_the_classes_trained_on():
    X, y, _ = imbalanced("multiclass")
    X_val, y_val = X[y != 0][:20], y[y != 0][:20]
    model = MLPClassifier(class_weight="balanced", max_iter=3, random_state=0)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    weights = dict(zip(y, compute_sample_weight("balanced", y), strict=True))
    expected = MLPClassifier(max_iter=3, random_state=0).fit(
        X,
        y,
        compute_sample_weight("balanced", y),
        X_val=X_val,
        y_val=y_val,
        sample_weight_val=[weights[label] for label in y_val],
    )
    np.testing.assert_allclose(model.validation_loss_curve_, expected.validation_loss_curve_)


@pytest.mark.parametrize(
    ("task", "class_weight", "match"),
    [
        ("binary", {"maybe": 2}, r"'maybe'\], of class_weight .* the classes, \['no', 'yes'\]"),
        ("binary", {"no": 1, "yes": 1, "maybe": 2}, "'maybe'.* not among the classes"),
        ("binary", {"no": -1}, "class_weight must be finite and not negative"),
        ("multiclass", {0: np.nan}, "class_weight must be finite and not negative"),
        ("multiclass", {0: np.inf}, "class_weight must be finite and not negative"),
        ("multiclass", [{0: 1}, {0: 1}, {0: 1}], "class_weight as a list is for several labels"),
        ("multiclass", {0: 0, 10: 0, 20: 0}, "class_weight must contain at least one non-zero"),
        ("multilabel", {0: 1, 1: 2}, "For multi-output, class_weight should be a list of dicts"),
        ("multilabel", [{0: 1}], r"Got 1 element\(s\) while having 3 outputs"),
        ("multilabel", [{2: 1}, None, None], r"The labels, \[2\], of class_weight"),
        ("multilabel", [{0: 1, 1: 1, 2: 1}, None, None], r"The labels, \[2\], of class_weight"),
        ("multilabel", [{1: -1}, None, None], "class_weight must be finite and not negative"),
    ],
)
def test_bad_weights(task, class_weight, match):
    X, y, _ = imbalanced(task)
    model = MLPClassifier(class_weight=class_weight)
    with pytest.raises(ValueError, match=match):
        model.fit(X, y)
    assert not hasattr(model, "coefs_")


def test_label_that_all_samples_have_is_balanced():
    X, y, _ = imbalanced("multilabel")
    y[:, 1] = 1
    model = MLPClassifier(class_weight="balanced", max_iter=2, random_state=0).fit(X, y)
    expected = MLPClassifier(max_iter=2, random_state=0).fit(
        X, y, compute_sample_weight("balanced", y)
    )
    np.testing.assert_allclose(model.coefs_[0], expected.coefs_[0])


def test_balance_finds_a_rare_class():
    rng = np.random.RandomState(0)
    y = (np.arange(1000) < 30).astype(int)
    X = rng.normal(size=(1000, 2)) + 1.2 * y[:, np.newaxis]
    recalls = [
        MLPClassifier((8,), class_weight=class_weight, max_iter=50, random_state=0)
        .fit(X, y)
        .predict(X[y == 1])
        .mean()
        for class_weight in (None, "balanced")
    ]
    assert recalls[0] < 0.5 < 0.7 < recalls[1]
