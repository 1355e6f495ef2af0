"""Hidden activations, gradients with respect to the inputs, and the summary of a model."""

import copy
import pickle
import re

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier, MLPRegressor
from tests import reference
from tests.estimators.problems import CLASSIFICATION, TASKS, make_estimator, make_problem

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

HIDDEN_ACTIVATIONS = [name for name in reference.ACTIVATIONS if name != "exp"]
RTOL = {np.float64: 1e-10, np.float32: 2e-4}


def fitted(task, dtype=np.float64, n_samples=60, **parameters):
    """A model of two hidden layers, its inputs, its targets, and its NumPy twin."""
    X, y, _ = make_problem(task, n_samples=n_samples, dtype=dtype)
    parameters = {
        "hidden_layer_sizes": (6, 4), "activation": "tanh", "max_iter": 5, "random_state": 0,
        "learning_rate_init": 0.01, **parameters,
    }  # fmt: skip
    model = make_estimator(task, **parameters).fit(X, y)
    names, n_hidden = parameters["activation"], len(parameters["hidden_layer_sizes"])
    names = [names] * n_hidden if isinstance(names, str) else list(names)
    slopes = getattr(model, "activation_slopes_", parameters.get("activation_slope"))
    twin = reference.Network(
        model.coefs_, model.intercepts_, names, model.out_activation_,
        [slopes] * n_hidden if isinstance(slopes, float) else slopes,
    )  # fmt: skip
    return model, X, y, twin


def assert_close(actual, expected, dtype):
    assert actual.dtype == dtype
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=RTOL[dtype], atol=RTOL[dtype] * scale)


# --------------------------------------------------------------------------------------
# transform
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
def test_hidden_activations_are_the_twins(activation, dtype):
    model, X, _, twin = fitted("multiclass", dtype, activation=activation, activation_slope=0.3)
    activations = reference.forward(twin, X)[1]
    for layer in (0, 1):
        assert_close(model.transform(X, layer=layer), activations[layer + 1], dtype)
        assert_close(model.transform(X, layer - 2), activations[layer + 1], dtype)
    np.testing.assert_array_equal(model.transform(X), model.transform(X, layer=1))


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_hidden_activations(task):
    model, X, y, twin = fitted(task, activation=["relu", "prelu"])
    hidden = reference.forward(twin, X)[1]
    assert_close(model.transform(X, 0), hidden[1], np.float64)
    assert_close(model.transform(X), hidden[2], np.float64)
    assert_close(model.transform(sparse.csr_array(X)), hidden[2], np.float64)
    assert_close(clone(model).fit_transform(X, y), hidden[2], np.float64)


@pytest.mark.parametrize("n_samples", [1, 7, 3000])
def test_any_number_of_samples(n_samples):
    model, X, _, twin = fitted("regression")
    X = np.random.RandomState(0).normal(size=(n_samples, X.shape[1]))
    assert_close(model.transform(X), reference.forward(twin, X)[1][2], np.float64)
    assert_close(
        model.input_gradients(X), reference.input_gradients_of_output(twin, X, 0), np.float64
    )


def test_what_the_user_put_into_coefs_counts():
    model, X, y, twin = fitted("regression")
    before = model.transform(X), model.input_gradients(X), model.input_gradients(X, y)
    model.coefs_[0] = model.coefs_[0] * 2  # another array
    model.coefs_[1][0, 0] += 1  # in place
    twin.weights = model.coefs_
    after = model.transform(X), model.input_gradients(X), model.input_gradients(X, y)
    assert_close(after[0], reference.forward(twin, X)[1][2], np.float64)
    assert_close(after[1], reference.input_gradients_of_output(twin, X, 0), np.float64)
    for old, new in zip(before, after, strict=True):
        assert np.abs(old - new).max() > 1e-3
    for twin_model in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin_model.transform(X), after[0])


def test_nothing_of_the_model_changes():
    model, X, y, _ = fitted("multiclass")
    coefs, X_before = copy.deepcopy(model.coefs_), X.copy()
    probabilities = model.predict_proba(X)
    model.transform(X, 0)[:] = 7
    model.input_gradients(X)
    model.input_gradients(X[y > 0], y[y > 0])  # not all the classes
    np.testing.assert_array_equal(X, X_before)
    np.testing.assert_array_equal(model.predict_proba(X), probabilities)
    np.testing.assert_array_equal(model.classes_, [0, 10, 20])
    for old, new in zip(coefs, model.coefs_, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("layer", [2, -3, 0.0, "0", None, True, np.nan, [0]])
def test_layer_that_is_not_there(layer):
    model, X, _, _ = fitted("regression")
    message = (
        "The 'layer' parameter of transform must be an int in the range [-2, 1]. "
        f"Got {layer!r} instead."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.transform(X, layer=layer)


def test_model_without_hidden_layers():
    model, X, _, twin = fitted("multiclass", hidden_layer_sizes=())
    with pytest.raises(ValueError, match=r"hidden_layer_sizes=\(\)"):
        model.transform(X)
    assert_close(
        model.input_gradients(X, output=1),
        reference.input_gradients_of_output(twin, X, 1),
        np.float64,
    )
    assert [row.layer for row in model.summary()] == ["output"]


def test_last_hidden_layer_as_features_in_a_pipeline():
    X, y, _ = make_problem("multiclass", n_samples=200)
    network = MLPClassifier((16, 8), learning_rate_init=0.01, max_iter=300, random_state=0)
    pipeline = make_pipeline(StandardScaler(), network, LogisticRegression()).fit(X, y)
    assert pipeline[-1].coef_.shape == (3, 8)
    assert pipeline.score(X, y) > 0.8
    search = GridSearchCV(pipeline, {"mlpclassifier__hidden_layer_sizes": [3, 5]}, cv=2).fit(X, y)
    n_units = search.best_params_["mlpclassifier__hidden_layer_sizes"]
    assert search.best_estimator_[-1].coef_.shape == (3, n_units)
    # As the last step it transforms, too, and so it does beside others.
    np.testing.assert_array_equal(pipeline[:-1].transform(X), pipeline[1].transform(
        pipeline[0].transform(X)
    ))  # fmt: skip
    union = make_union(StandardScaler(), clone(network)).fit(X, y)
    assert union.transform(X).shape == (200, 5 + 8)


def test_names_of_the_features_that_come_out():
    model, X, y, _ = fitted("regression")
    names = [f"mlpregressor{i}" for i in range(4)]
    np.testing.assert_array_equal(model.get_feature_names_out(), names)
    frame = pd.DataFrame(X, columns=list("abcde"), index=np.arange(len(X)) * 2)
    model = clone(model).set_output(transform="pandas").fit(frame, y)
    hidden = model.transform(frame)
    assert list(hidden.columns) == names
    pd.testing.assert_index_equal(hidden.index, frame.index)
    np.testing.assert_array_equal(model.get_feature_names_out(list("abcde")), names)
    with pytest.raises(ValueError, match="input_features"):
        model.get_feature_names_out(list("edcba"))


def test_only_the_last_hidden_layer_comes_as_a_data_frame():
    model, X, _, _ = fitted("regression")
    expected = [model.transform(X, layer=layer) for layer in (0, 1)]
    model.set_output(transform="pandas")
    for layer in (1, -1):
        np.testing.assert_array_equal(model.transform(X, layer=layer), expected[1])
    for layer in (0, -2):
        with pytest.raises(ValueError, match=rf"layer={layer} has no names.*set_output"):
            model.transform(X, layer=layer)
    model.set_output(transform="default")
    np.testing.assert_array_equal(model.transform(X, layer=0), expected[0])


@pytest.mark.parametrize("estimator", [MLPClassifier(), MLPRegressor()])
def test_not_fitted(estimator):
    for look in (
        lambda: estimator.transform([[0.0]]),
        lambda: estimator.input_gradients([[0.0]]),
        estimator.summary,
        estimator.get_feature_names_out,
    ):
        with pytest.raises(NotFittedError):
            look()


# --------------------------------------------------------------------------------------
# input_gradients
# --------------------------------------------------------------------------------------


def encoded(task, y):
    """Targets as the twin takes them."""
    if task == "binary":
        return (y == "yes").astype(float)[:, np.newaxis]
    if task == "multiclass":
        return (y[:, np.newaxis] == np.unique(y)).astype(float)
    return y.reshape(len(y), -1).astype(float)


def loss_of(model, task):
    """The twin's name of a model's loss."""
    return model.loss if task not in CLASSIFICATION else "log_loss"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("task", TASKS)
def test_gradient_of_the_loss_is_the_twins(task, dtype):
    model, X, y, twin = fitted(task, dtype, activation=["elu", "prelu"])
    targets = encoded(task, y).astype(dtype)
    expected = reference.input_gradients_of_loss(twin, X, targets, loss_of(model, task))
    for inputs in (X, sparse.csr_array(X), sparse.csc_array(X), np.asfortranarray(X)):
        assert_close(model.input_gradients(inputs, y), expected, dtype)


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("task", TASKS)
def test_gradient_of_an_output_is_the_twins(task, dtype, logits):
    model, X, _, twin = fitted(task, dtype, activation=["silu", "prelu"])
    n_units = twin.biases[-1].size
    expected = [
        reference.input_gradients_of_output(twin, X, unit, logits) for unit in range(n_units)
    ]
    if task == "binary":
        expected = [-expected[0], expected[0]]
    for output, gradient in enumerate(expected):
        assert_close(model.input_gradients(X, output=output, logits=logits), gradient, dtype)
    all_at_once = model.input_gradients(sparse.csr_array(X), logits=logits)
    if task in ("regression", "poisson"):
        assert_close(all_at_once, expected[0], dtype)
    else:
        assert_close(all_at_once, np.stack(expected, axis=1), dtype)
    with pytest.raises(ValueError, match="The 'output' parameter of input_gradients"):
        model.input_gradients(X, output=len(expected))


@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
def test_every_activation_hidden_and_as_output(activation):
    arguments = {"activation": activation, "activation_slope": 0.3, "out_activation": activation}
    model, X, y, twin = fitted("multioutput", **arguments)
    if activation in ("leaky_relu", "elu"):
        twin.slopes[-1] = reference.default_slope(activation)  # the parameter is about hidden ones
    for output in range(3):
        expected = reference.input_gradients_of_output(twin, X, output)
        assert_close(model.input_gradients(X, output=output), expected, np.float64)
    expected = reference.input_gradients_of_loss(twin, X, y, "squared_error")
    assert_close(model.input_gradients(X, y), expected, np.float64)


@pytest.mark.parametrize(
    "case",
    [
        ("binary", {}),
        ("multiclass", {}),
        ("multiclass", {"loss": "squared_error"}),
        # One logistic output per class, which predict_proba divides by their sum.
        ("multiclass", {"loss": "squared_error", "out_activation": "logistic"}),
        ("multilabel", {}),
        ("regression", {}),
        ("multioutput", {"out_activation": "softmax"}),
        ("poisson", {}),
    ],
    ids=str,
)
def test_gradients_are_the_finite_differences_of_what_is_predicted(case):
    task, arguments = case
    model, X, _, _ = fitted(task, **arguments)
    X = X[:9].copy()
    predict = model.predict_proba if task in CLASSIFICATION else model.predict
    gradients = model.input_gradients(X)
    assert gradients.shape == (*predict(X).shape, X.shape[1])
    for feature in range(X.shape[1]):

        def moved(by, feature=feature):
            Z = X.copy()
            Z[:, feature] += by
            return predict(Z)

        step = 1e-3
        expected = moved(-2 * step) - 8 * moved(-step) + 8 * moved(step) - moved(2 * step)
        np.testing.assert_allclose(gradients[..., feature], expected / (12 * step), atol=1e-9)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_outputs_of_any_size(scale):
    for dtype in (np.float64, np.float32):
        model, X, _, twin = fitted("regression", dtype)
        model.coefs_[-1] *= dtype(scale)
        model.intercepts_[-1] += dtype(scale)
        expected = reference.input_gradients_of_output(twin, X, 0)
        assert_close(model.input_gradients(X), expected, dtype)


def test_certain_probabilities_have_the_gradients_they_should():
    model, X, _, twin = fitted("multiclass")
    model.coefs_[-1] *= 30  # probabilities down to 1e-14
    for output in range(3):
        assert_close(
            model.input_gradients(X, output=output),
            reference.input_gradients_of_output(twin, X, output),
            np.float64,
        )


def test_one_class_only():
    X, _, _ = make_problem("binary")
    model = MLPClassifier((3,), max_iter=3).fit(X, np.ones(len(X)))
    np.testing.assert_array_equal(model.input_gradients(X), np.zeros((len(X), 1, X.shape[1])))
    assert np.abs(model.input_gradients(X, logits=True)).max() > 0


def test_gradient_of_the_loss_finds_what_misleads_the_model():
    X, y, _ = make_problem("multiclass", n_samples=200)
    model = MLPClassifier((30,), learning_rate_init=0.01, max_iter=100, random_state=0).fit(X, y)
    step = 0.3 * np.sign(model.input_gradients(X, y))
    assert model.score(X + step, y) < model.score(X, y) - 0.2
    assert model.score(X - step, y) > model.score(X, y)


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("multiclass", {"y": [5] * 60}, "`y` has classes not in `self.classes_`."),
        ("multiclass", {"y": [0] * 59}, "inconsistent numbers of samples: [60, 59]"),
        ("multiclass", {"y": [np.nan] * 60}, "Input y contains NaN."),
        ("multilabel", {"y": np.zeros((60, 2))}, "y must be of shape (n_samples, 3)"),
        ("multilabel", {"y": np.zeros(60)}, "y must be of shape (n_samples, 3)"),
        ("multilabel", {"y": np.full((60, 3), 2)}, "y must be of shape (n_samples, 3)"),
        ("multioutput", {"y": np.zeros((60, 2))}, "y must have 3 output(s), got 2."),
        ("regression", {"y": ["a"] * 60}, "could not convert string to float"),
        ("poisson", {"y": [-1.0] * 60}, "out of the valid range of the loss 'poisson'"),
        ("multiclass", {"y": [0] * 60, "output": 0}, "cannot be combined with y"),
        ("multiclass", {"y": [0] * 60, "logits": True}, "cannot be combined with y"),
        ("multiclass", {"output": 3}, "'output' parameter of input_gradients must be an int in"),
        ("multiclass", {"output": -1}, "'output' parameter of input_gradients must be an int in"),
        ("multiclass", {"output": 1.0}, "'output' parameter of input_gradients must be an int in"),
        ("multiclass", {"output": True}, "'output' parameter of input_gradients must be an int in"),
        ("multiclass", {"logits": 1}, "'logits' parameter of input_gradients must be an instance"),
    ],
)
def test_bad_arguments(task, arguments, message):
    model, X, _, _ = fitted(task)
    with pytest.raises(ValueError, match=re.escape(message)):
        model.input_gradients(X, **arguments)
    with pytest.raises(ValueError, match="features"):
        model.input_gradients(X[:, 1:])


# --------------------------------------------------------------------------------------
# summary
# --------------------------------------------------------------------------------------


def test_summary():
    model, _, _, _ = fitted("multiclass", np.float32, activation=("relu", "prelu"))
    summary = model.summary()
    assert list(summary) == [
        ("hidden 0", 5, 6, "relu", 36),
        ("hidden 1", 6, 4, "prelu", 29),
        ("output", 4, 3, "softmax", 15),
    ]
    assert (len(summary), summary[-1].units, summary[:1]) == (3, 3, tuple(summary)[:1])
    assert (summary.n_parameters, summary.n_bytes) == (80, 320)
    assert str(summary).splitlines() == [
        "MLPClassifier: 80 parameters, float32, 320 bytes",
        "layer     inputs  units  activation  parameters",
        "hidden 0       5      6  relu                36",
        "hidden 1       6      4  prelu               29",
        "output         4      3  softmax             15",
    ]
    frame = pd.DataFrame(summary)
    assert list(frame["parameters"]) == [36, 29, 15]
    table = summary._repr_html_()
    assert table.count("<tr>") == 4
    assert "<td>prelu</td><td>29</td>" in table


def test_summary_of_a_large_model_groups_digits():
    model, _, _, _ = fitted("regression", hidden_layer_sizes=(1500,))
    assert str(model.summary()).splitlines()[1:] == [
        "layer     inputs  units  activation  parameters",
        "hidden 0       5  1,500  tanh             9,000",
        "output     1,500      1  identity         1,501",
    ]
