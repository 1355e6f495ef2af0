"""Train fastmlp and scikit-learn on the same data with the same arguments, and measure both.

The data is split into a training and a test part. Features, and the target of a regression, are
scaled to mean 0 and variance 1 by the training part. The first fit of each library is timed on its
own, because fastmlp then compiles its kernels or loads them from the cache. After it the libraries
take turns, so that a change in the load of the machine hits both. Each fit begins when the threads
of the one before have gone to sleep: those of BLAS keep cores busy for a while.
"""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.datasets import Dataset
from fastmlp.training.cores import running_threads

__all__ = ["Comparison", "Run", "compare_with_sklearn"]


@dataclass
class Run:
    """What one library did.

    Attributes
    ----------
    first_fit_seconds : float
        Time of the first fit in this comparison.
    fit_seconds : list of float
        Times of the fits after the first.
    score : float
        Accuracy or R² on the test part.
    n_iter : int
        Epochs run, ``n_iter_``.
    loss : float
        Training loss at the end, ``loss_``.
    """

    first_fit_seconds: float = np.nan
    fit_seconds: list[float] = field(default_factory=list)
    score: float = np.nan
    n_iter: int = 0
    loss: float = np.nan

    @property
    def median_fit_seconds(self) -> float:
        """Median time of the fits after the first."""
        return median(self.fit_seconds)

    @property
    def first_call_seconds(self) -> float:
        """Time that the first fit took above the median of the later ones."""
        return max(0.0, self.first_fit_seconds - self.median_fit_seconds)

    def to_dict(self) -> dict[str, Any]:
        """Return the run as plain values.

        Returns
        -------
        dict
            Every attribute by its name; None for a score or loss that is not finite.
        """
        return {
            "first_fit_seconds": self.first_fit_seconds,
            "first_call_seconds": self.first_call_seconds,
            "fit_seconds": self.fit_seconds,
            "median_fit_seconds": self.median_fit_seconds,
            "score": _finite(self.score),
            "n_iter": self.n_iter,
            "loss": _finite(self.loss),
        }


@dataclass(frozen=True)
class Comparison:
    """The outcome of `compare_with_sklearn`.

    Attributes
    ----------
    data : dict
        Name, task, dtype, and the numbers of rows, features and classes of the data.
    parameters : dict
        Arguments that both estimators got.
    fastmlp, sklearn : Run
        What each library did.
    max_weight_difference : float
        Largest absolute difference between corresponding entries of ``coefs_`` and
        ``intercepts_`` after training.
    environment : dict
        Versions, number of CPUs, and threads of the BLAS library.
    notes : list of str
        Warnings that the fits gave, apart from those about convergence, and one if the machine
        was too busy for times to mean much.
    """

    data: dict[str, Any]
    parameters: dict[str, Any]
    fastmlp: Run
    sklearn: Run
    max_weight_difference: float
    environment: dict[str, Any]
    notes: list[str]

    @property
    def speed_ratio(self) -> float:
        """How many times faster fastmlp is, by the medians."""
        return self.sklearn.median_fit_seconds / self.fastmlp.median_fit_seconds

    @property
    def speed_ratio_range(self) -> tuple[float, float]:
        """Smallest and largest ratio of two fits that followed each other."""
        pairs = zip(self.sklearn.fit_seconds, self.fastmlp.fit_seconds, strict=True)
        ratios = [slow / fast for slow, fast in pairs]
        return min(ratios), max(ratios)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values, ready for JSON.

        Returns
        -------
        dict
            Every attribute by its name; the runs as dictionaries of their own.
        """
        return {
            "data": self.data,
            "parameters": self.parameters,
            "fastmlp": self.fastmlp.to_dict(),
            "sklearn": self.sklearn.to_dict(),
            "speed_ratio": self.speed_ratio,
            "speed_ratio_range": self.speed_ratio_range,
            "max_weight_difference": _finite(self.max_weight_difference),
            "environment": self.environment,
            "notes": self.notes,
        }


def compare_with_sklearn(
    dataset: Dataset,
    parameters: Mapping[str, Any] | None = None,
    *,
    dtype: str = "float64",
    repeats: int = 5,
    test_size: float = 0.25,
    max_samples: int | None = None,
    random_state: int = 0,
    on_fit: Callable[[str], object] | None = None,
) -> Comparison:
    """Fit both libraries ``1 + repeats`` times and compare speed and results.

    Parameters
    ----------
    dataset : Dataset
        Data of a classification or a regression.
    parameters : mapping or None
        Arguments for both estimators. They also get `random_state`.
    dtype : {"float32", "float64"}
        Type that the features are converted to, and so that of the training.
    repeats : int
        Timed fits of each library, at least 1.
    test_size : float
        Share of the rows in the test part, between 0 and 1.
    max_samples : int or None
        Use that many rows only, drawn at random. None: all.
    random_state : int
        Seed of the split and of both estimators.
    on_fit : callable or None
        Called with the name of the library before each fit.

    Returns
    -------
    Comparison
        Times, scores and the difference in weights.

    Raises
    ------
    ValueError
        If the data is too small to be split, or if an estimator rejects its arguments or
        diverges; the message begins with the name of the estimator's library.
    """
    X_train, X_test, y_train, y_test = _split(dataset, dtype, test_size, max_samples, random_state)
    estimators = _import_estimators(dataset.task)
    runs = {library: Run() for library in estimators}
    parameters = {**(parameters or {}), "random_state": random_state}
    models: dict[str, Any] = {}
    environment = _describe_environment()
    notes = _note_load(environment["n_cpus"])

    for turn in range(1 + repeats):
        for library, estimator in estimators.items():
            if on_fit is not None:
                on_fit(library)
            try:
                models[library], seconds = _fit(estimator(**parameters), X_train, y_train, notes)
            except ValueError as error:
                raise ValueError(f"{library}: {error}") from error
            if turn == 0:
                runs[library].first_fit_seconds = seconds
            else:
                runs[library].fit_seconds.append(seconds)

    for library, model in models.items():
        runs[library].score = float(model.score(X_test, y_test))
        runs[library].n_iter = int(model.n_iter_)
        runs[library].loss = float(model.loss_)
    return Comparison(
        data={
            "name": dataset.name,
            "task": dataset.task,
            "dtype": dtype,
            "n_train": len(X_train),
            "n_test": len(X_test),
            "n_features": X_train.shape[1],
            "n_classes": len(np.unique(y_train)) if dataset.task == "classification" else None,
        },
        parameters=parameters,
        fastmlp=runs["fastmlp"],
        sklearn=runs["scikit-learn"],
        max_weight_difference=_max_weight_difference(models["fastmlp"], models["scikit-learn"]),
        environment=environment,
        notes=list(dict.fromkeys(notes)),
    )


def _finite(value: float) -> float | None:
    """Return None for what JSON has no number for."""
    return value if np.isfinite(value) else None


def _import_estimators(task: str) -> dict[str, Callable[..., Any]]:
    import sklearn.neural_network

    import fastmlp

    name = "MLPClassifier" if task == "classification" else "MLPRegressor"
    return {
        "fastmlp": getattr(fastmlp, name),
        "scikit-learn": getattr(sklearn.neural_network, name),
    }


def _split(
    dataset: Dataset, dtype: str, test_size: float, max_samples: int | None, random_state: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return X_train, X_test, y_train, y_test, scaled by the training part."""
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    X, y = dataset.X, dataset.y
    if max_samples is not None and max_samples < len(X):
        chosen = np.random.default_rng(random_state).choice(len(X), max_samples, replace=False)
        X, y = X[chosen], y[chosen]

    def split(stratify: NDArray[Any] | None) -> list[NDArray[Any]]:
        return train_test_split(
            X, y, test_size=test_size, random_state=random_state, stratify=stratify
        )

    try:
        X_train, X_test, y_train, y_test = split(y if dataset.task == "classification" else None)
    except ValueError:  # some class has too few rows to be in both parts
        X_train, X_test, y_train, y_test = split(None)
    if len(X_test) < 2:
        raise ValueError(f"{len(X)} rows are too few: the test part needs at least 2")
    if np.all(y_train == y_train[0]):
        raise ValueError("the target has the same value in every row of the training part")

    scaler = StandardScaler(copy=False)
    X_train = scaler.fit_transform(X_train.astype(dtype))
    X_test = scaler.transform(X_test.astype(dtype))
    if dataset.task == "regression":
        mean, scale = y_train.mean(), y_train.std()
        y_train, y_test = (((part - mean) / scale).astype(dtype) for part in (y_train, y_test))
    return X_train, X_test, y_train, y_test


def _fit(model: Any, X: NDArray[Any], y: NDArray[Any], notes: list[str]) -> tuple[Any, float]:
    """Fit, and return the model and the seconds it took; notes gets what was warned of."""
    from sklearn.exceptions import ConvergenceWarning

    _wait_for_threads()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        model.fit(X, y)
        seconds = time.perf_counter() - start
    for warning in caught:
        if "interrupted by user" in str(warning.message):
            raise KeyboardInterrupt  # the estimators turn it into a warning; here it must stop
        if not issubclass(warning.category, ConvergenceWarning):
            notes.append(str(warning.message))
    return model, seconds


def _wait_for_threads(at_most: float = 1.0) -> None:
    """Wait until no other thread of this process runs, or for some seconds."""
    deadline = time.monotonic() + at_most
    while running_threads() and time.monotonic() < deadline:
        time.sleep(0.01)


def _max_weight_difference(model: Any, other: Any) -> float:
    weights = model.coefs_ + model.intercepts_
    other_weights = other.coefs_ + other.intercepts_
    return max(float(np.max(np.abs(a - b))) for a, b in zip(weights, other_weights, strict=True))


def _note_load(n_cpus: int) -> list[str]:
    """Return a note if other programs keep all CPUs busy."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load <= n_cpus:
        return []
    return [f"The machine is busy, so times mean little: load {load:.1f} on {n_cpus} CPUs."]


def _describe_environment() -> dict[str, Any]:
    import joblib
    import threadpoolctl

    import fastmlp

    pools = threadpoolctl.threadpool_info()
    return {
        "fastmlp": fastmlp.__version__,
        **{package: version(package) for package in ("scikit-learn", "numpy", "numba")},
        "python": platform.python_version(),
        "n_cpus": joblib.cpu_count(),
        "blas_threads": max(
            (p["num_threads"] for p in pools if p["user_api"] == "blas"), default=1
        ),
    }
