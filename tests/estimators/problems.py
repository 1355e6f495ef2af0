"""Generated data sets, one for each kind of problem that a multi-layer perceptron solves."""

import numpy as np

import fastmlp

TASKS = ["binary", "multiclass", "multilabel", "regression", "multioutput", "poisson"]
CLASSIFICATION = {"binary", "multiclass", "multilabel"}


def make_problem(task, n_samples=60, n_features=5, dtype=np.float64):
    """Noisy data that a small network can learn: ``X``, ``y``, and positive sample weights."""
    rng = np.random.RandomState(TASKS.index(task))
    X = rng.normal(size=(n_samples, n_features))
    signal = np.sin(X @ rng.normal(size=(n_features, 3))) + 0.3 * rng.normal(size=(n_samples, 3))
    y = {
        "binary": np.array(["no", "yes"])[(signal[:, 0] > 0).astype(int)],
        "multiclass": signal.argmax(axis=1) * 10,
        "multilabel": (signal > 0).astype(int),
        "regression": signal[:, 0] + 0.5,
        "multioutput": signal,
        "poisson": rng.poisson(np.exp(signal[:, 0])).astype(float),
    }[task]
    return X.astype(dtype), y, rng.uniform(0.2, 2, size=n_samples)


def make_estimator(task, package=fastmlp, **parameters):
    """An estimator for the task, from fastmlp or from `sklearn.neural_network`."""
    if task in CLASSIFICATION:
        return package.MLPClassifier(**parameters)
    if task == "poisson":
        parameters["loss"] = "poisson"
    return package.MLPRegressor(**parameters)
