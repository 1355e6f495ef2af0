"""fastmlp and scikit-learn: whole calls of ``fit``.

The time of an epoch is that of a whole ``fit`` over its number of epochs. What ``fit`` does once
(checking X, encoding y, drawing the weights) and the drawing of the permutations count, although
the other peers are given all this for nothing.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from workloads import Task, Workload

__all__ = ["Fastmlp", "Sklearn", "make_estimator"]

_MODULES = {"fastmlp": "fastmlp", "sklearn": "sklearn.neural_network"}


def make_estimator(
    library: str, workload: Workload, max_iter: int, threads: int | None = None
) -> Any:
    """Make an estimator that trains a workload, and that no criterion stops early.

    Parameters
    ----------
    library : {"fastmlp", "sklearn"}
        Whose estimator.
    workload : Workload
        What it trains.
    max_iter : int
        Number of epochs.
    threads : int or None
        Number of threads of fastmlp; None leaves it the choice. That of scikit-learn is set by the
        environment.

    Returns
    -------
    estimator
        Not fitted.
    """
    name = "MLPRegressor" if workload.loss == "squared" else "MLPClassifier"
    parameters = workload.estimator_parameters() | {"max_iter": max_iter}
    if library == "fastmlp":
        parameters["n_jobs"] = threads
    return getattr(import_module(_MODULES[library]), name)(**parameters)


class _Estimator:
    """An estimator as a `peers.Trainer`.

    Parameters
    ----------
    task : Task
        What to train.
    threads : int
        Number of threads; how many processors the process may use is its caller's business.
    variant : str
        Ignored: there is one way to call ``fit``.
    """

    loss_includes_penalty = True
    library: str

    def __init__(self, task: Task, threads: int, variant: str) -> None:
        self._task = task
        self._threads = threads
        self.reset()

    def reset(self) -> None:
        """Make a new estimator."""
        self._model = make_estimator(self.library, self._task.workload, 1, self._threads)

    def run(self, n_epochs: int) -> None:
        """Fit.

        Parameters
        ----------
        n_epochs : int
            Epochs of the fit.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.set_params(max_iter=n_epochs).fit(self._task.X, self._task.y)

    def losses(self) -> list[float]:
        """Return the loss curve.

        Returns
        -------
        list of float
            One value per epoch.
        """
        return [float(loss) for loss in self._model.loss_curve_]

    def weights(self) -> list[NDArray[Any]]:
        """Return the weights.

        Returns
        -------
        list of ndarray
            One matrix per layer.
        """
        return list(self._model.coefs_)


class Fastmlp(_Estimator):
    """fastmlp."""

    library = "fastmlp"


class Sklearn(_Estimator):
    """scikit-learn; its BLAS takes the number of threads from the environment."""

    library = "sklearn"
