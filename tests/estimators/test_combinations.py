"""Every feature together with every other: each pair of settings meets in some case."""

import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse

import fastmlp
from fastmlp import CustomActivation, CustomLoss, MLPClassifier, MLPRegressor
from fastmlp.estimators._base import SOLVERS
from tests.estimators.covering import covering_cases
from tests.estimators.problems import CLASSIFICATION, make_problem
from tests.estimators.test_parity import case_id

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore::fastmlp.TrainingWarning"
)


def softsign(z):
    return z / (1 + abs(z))


def softsign_derivative(z):
    return 1 / (1 + abs(z)) ** 2


def half_square(prediction, target):
    return (prediction - target) ** 2 / 2


def half_square_gradient(prediction, target):
    return prediction - target


OWN_ACTIVATION = CustomActivation(softsign, softsign_derivative)
OWN_LOSS = CustomLoss(half_square, half_square_gradient)

SETTINGS = {
    "task": ["binary", "multiclass", "multilabel", "regression", "multioutput", "quantiles"],
    "dtype": ["float32", "float64"],
    "container": ["array", "sparse", "memory map"],
    "method": ["fit", "warm start", "partial_fit", "fit_batches"],
    "solver": SOLVERS,
    "activation": ["relu", "prelu", "selu", ["gelu", "tanh"], OWN_ACTIVATION],
    "loss": ["first", "second", "third", "own"],
    "batch_size": [1, 7, "auto"],
    "learning_rate": ["constant", "invscaling", "adaptive", "cosine", "one_cycle", "callable"],
    "warmup_steps": [0, 3, 0.2],
    "dropout": [0.0, [0.0, 0.3]],
    "normalization": [None, "layer"],
    "l1": [0.0, 0.01],
    "max_grad_norm": [None, 0.5],
    "smoothing": [False, True],
    "sample_weight": [False, True],
    "class_weight": [None, "balanced", "dict"],
    "validation": ["none", "early stopping", "data", "data and early stopping"],
    "scoring": [None, "loss", "name"],
    "stratify": [None, True],
    "weight_init": [None, "orthogonal"],
    "n_jobs": [None, 1, 2],
    "callbacks": [False, True],
    "time_limit": [None, 60.0],
    "verbose": [False, "progress"],
}
LOSSES = {
    "classification": {"first": "log_loss", "second": "focal", "third": "squared_error"},
    "regression": {"first": "squared_error", "second": "huber", "third": "absolute_error"},
}


def clashes(case):
    """Names in the errors of settings that cannot be combined; empty where all can."""
    is_incremental = case["method"] in ("partial_fit", "fit_batches")
    is_lbfgs, learning_rate = case["solver"] == "lbfgs", case["learning_rate"]
    if is_lbfgs and is_incremental:
        return {"partial_fit", "fit_batches"}
    plan, warmup = learning_rate in ("cosine", "one_cycle"), case["warmup_steps"]
    is_clash = {
        "dropout": is_lbfgs and any(np.atleast_1d(case["dropout"])),
        "l1": is_lbfgs and case["l1"],
        "max_grad_norm": is_lbfgs and case["max_grad_norm"],
        "learning_rate": (is_lbfgs and (plan or learning_rate == "callable"))
        or (is_incremental and plan),
        "warmup_steps": (is_lbfgs and warmup)
        or (is_incremental and warmup == 0.2)
        or (learning_rate == "one_cycle" and warmup),
        "X_val": is_lbfgs and "data" in case["validation"],
        "early_stopping": is_incremental and "early stopping" in case["validation"],
        "class_weight": is_incremental
        and case["class_weight"] == "balanced"
        and case["task"] in CLASSIFICATION,
    }
    return {name for name, clash in is_clash.items() if clash}


def problem(case, folder):
    """X and y, and X in the container that the case asks for."""
    task = {"quantiles": "regression"}.get(case["task"], case["task"])
    X, y, weights = make_problem(task, n_samples=80, dtype=case["dtype"])
    container = X
    if case["container"] == "sparse":
        container = sparse.csr_array(X)
    elif case["container"] == "memory map":
        np.save(folder / "X.npy", X)
        container = np.load(folder / "X.npy", mmap_mode="r")
    return X, y, weights if case["sample_weight"] else None, container


def make_model(case, y, seen):
    """The estimator of a case, and what it passes to `fit` besides X and y."""
    is_classifier = case["task"] in CLASSIFICATION
    family = "classification" if is_classifier else "regression"
    names = (
        "solver", "activation", "batch_size", "warmup_steps", "dropout", "normalization", "l1",
        "max_grad_norm", "weight_init", "n_jobs", "time_limit", "verbose",
    )  # fmt: skip
    arguments = {name: case[name] for name in names}
    arguments.update(
        hidden_layer_sizes=(6, 5),
        max_iter=4,
        random_state=0,
        loss=LOSSES[family].get(case["loss"], OWN_LOSS),
        learning_rate={"callable": lambda step: 0.01 / (1 + step)}.get(
            case["learning_rate"], case["learning_rate"]
        ),
        early_stopping="early stopping" in case["validation"],
        validation_fraction=0.3,
        scoring={"name": "r2"}.get(case["scoring"], case["scoring"]),
        warm_start=case["method"] == "warm start",
        callbacks=[seen.append] if case["callbacks"] else None,
    )
    if is_classifier:
        arguments["stratify"] = case["stratify"]
        arguments["label_smoothing"] = 0.1 * (case["smoothing"] and case["loss"] == "first")
        arguments["class_weight"] = case["class_weight"]
        if case["scoring"] == "name":
            arguments["scoring"] = "accuracy"
        if case["class_weight"] == "dict":
            weights = {label: 1.0 + i for i, label in enumerate(np.unique(y))}
            is_multilabel = case["task"] == "multilabel"
            arguments["class_weight"] = [weights] * 3 if is_multilabel else weights
        return MLPClassifier(**arguments)
    if case["task"] == "quantiles":
        arguments.update(loss="quantile", quantile=[0.2, 0.8])
        if case["scoring"] == "name":  # of one value per sample
            arguments["scoring"] = "loss"
    return MLPRegressor(**arguments)


def train(model, case, X, y, weights):
    """Fit as the case asks for."""
    classes = {"classes": np.unique(y)} if hasattr(model, "predict_proba") else {}
    if case["method"] == "partial_fit":
        for _ in range(3):
            model.partial_fit(X, y, weights, **classes)
    elif case["method"] == "fit_batches":
        parts = np.array_split(np.arange(len(y)), 3)
        if weights is None:
            batches = [(X[part], y[part]) for part in parts]
        else:
            batches = [(X[part], y[part], weights[part]) for part in parts]
        model.fit_batches(batches, **classes)
    else:
        held_out = {"X_val": X[:20], "y_val": y[:20]} if "data" in case["validation"] else {}
        model.fit(X, y, weights, **held_out)
        if case["method"] == "warm start":
            model.fit(X, y, weights, **held_out)


@pytest.mark.parametrize("case", covering_cases(SETTINGS, strength=2), ids=case_id)
def test_combination(case, tmp_path):
    X, y, weights, container = problem(case, tmp_path)
    seen = []
    model = make_model(case, y, seen)
    expected = clashes(case)
    if expected:
        # Not silence, and a message that names one of the two.
        with pytest.raises((ValueError, AttributeError), match="|".join(expected)):
            train(model, case, container, y, weights)
        case = {**case, **SOLVABLE}
        model = make_model(case, y, seen)
    train(model, case, container, y, weights)

    n_columns = {"multilabel": 3, "multioutput": 3, "quantiles": 2}.get(case["task"])
    shape = (80,) if n_columns is None else (80, n_columns)
    with warnings.catch_warnings(action="error"):
        outputs = model.predict(container)
    assert outputs.shape == shape
    if hasattr(model, "predict_proba"):
        outputs = model.predict_proba(container)
        assert np.isin(model.predict(container), np.unique(y)).all()
    assert outputs.dtype == case["dtype"]
    assert np.isfinite(outputs).all()
    assert {array.dtype for array in model.coefs_} == {np.dtype(case["dtype"])}
    assert np.isfinite(model.loss_)
    assert bool(seen) == (case["callbacks"])
    np.testing.assert_allclose(
        predict(model, X), outputs, rtol=1e-4 if case["dtype"] == "float32" else 1e-10
    )
    # A whole model: copies of any kind predict the same bits.
    model.set_params(callbacks=None)
    if case["learning_rate"] == "callable":
        model.set_params(learning_rate="constant")
    model._schedule = None
    copies = [pickle.loads(pickle.dumps(model))]
    if OWN_ACTIVATION is model.activation or OWN_LOSS is model.loss:
        with pytest.raises(TypeError, match="A model file holds no functions"):
            model.save(tmp_path / "model")
    else:
        model.save(tmp_path / "model")
        copies.append(fastmlp.load(tmp_path / "model"))
    for copy in copies:
        np.testing.assert_array_equal(predict(copy, container), outputs)


# What makes a combination possible whose error was seen.
SOLVABLE = {
    "solver": "adam", "learning_rate": "constant", "warmup_steps": 0, "validation": "none",
    "class_weight": None, "dropout": 0.0, "l1": 0.0, "max_grad_norm": None,
}  # fmt: skip


def predict(model, X):
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)
