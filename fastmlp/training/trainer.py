"""The loop over epochs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.training.engine import Engine
from fastmlp.training.schedules import Constant

__all__ = ["DivergenceError", "Progress", "Stop", "fit_epochs"]

Floats = NDArray[Any]


class Stop(Enum):
    """Why training ended."""

    CONVERGED = "no improvement"
    MAX_ITER = "all epochs done"
    INTERRUPTED = "interrupted by the user"


class DivergenceError(ArithmeticError):
    """The loss or a parameter is no longer finite; the last finite parameters were kept."""


@dataclass
class Progress:
    """What training has reached; it outlives a call of partial_fit and a warm start.

    Attributes
    ----------
    n_iter : int
        Epochs of the current fit.
    samples_seen : int
        Samples trained on so far.
    loss : float
        Loss of the last epoch.
    loss_curve : list of float
        Loss of each epoch.
    best_loss : float or None
        Smallest loss; None under early stopping.
    validation_scores : list of float or None
        Validation score of each epoch; None without early stopping.
    best_validation_score : float or None
        Best score; None without early stopping.
    best_params : ndarray or None
        Parameters at the best score.
    no_improvement_count : int
        Epochs since the loss or score last improved by more than tol.
    """

    n_iter: int = 0
    samples_seen: int = 0
    loss: float = np.nan
    loss_curve: list[float] = field(default_factory=list)
    best_loss: float | None = np.inf
    validation_scores: list[float] | None = None
    best_validation_score: float | None = None
    best_params: Floats | None = None
    no_improvement_count: int = 0

    @classmethod
    def start(cls, early_stopping: bool) -> Progress:
        """Return the progress before the first epoch.

        Parameters
        ----------
        early_stopping : bool
            Whether a validation score decides.

        Returns
        -------
        Progress
            Nothing reached.
        """
        if early_stopping:
            return cls(best_loss=None, validation_scores=[], best_validation_score=-np.inf)
        return cls()

    def judge_loss(self, tol: float) -> None:
        """Compare the last loss with the best.

        Parameters
        ----------
        tol : float
            Smaller improvements do not count.
        """
        best = np.inf if self.best_loss is None else self.best_loss
        self.no_improvement_count = self.no_improvement_count + 1 if self.loss > best - tol else 0
        self.best_loss = min(self.loss, best)

    def judge_score(self, score: float, tol: float, params: Floats) -> None:
        """Compare a validation score with the best, and keep the parameters of the best.

        Parameters
        ----------
        score : float
            Score of the last epoch.
        tol : float
            Smaller improvements do not count.
        params : ndarray of shape (n_params,)
            Parameters with that score. Copied if it is the best.
        """
        if self.validation_scores is None or self.best_validation_score is None:
            self.validation_scores, self.best_validation_score = [], -np.inf
        self.validation_scores.append(score)
        has_improved = not score < self.best_validation_score + tol
        self.no_improvement_count = 0 if has_improved else self.no_improvement_count + 1
        if score > self.best_validation_score:
            self.best_validation_score = score
            self.best_params = params.copy()


def fit_epochs(
    engine: Engine,
    order: NDArray[np.int64],
    progress: Progress,
    schedule: Constant,
    random_state: np.random.RandomState,
    *,
    max_iter: int,
    shuffle: bool,
    tol: float,
    n_iter_no_change: float,
    score: Callable[[], float] | None = None,
    report: Callable[[str], None] | None = None,
) -> Stop:
    """Train for some epochs, or until there is no more improvement.

    Parameters
    ----------
    engine : Engine
        An engine that was entered.
    order : ndarray of int64, shape (n_samples,)
        Which samples, in which order; shuffled orders are permutations of it.
    progress : Progress
        **Overwritten.**
    schedule : Constant
        Learning rates. **Overwritten** as training proceeds.
    random_state : numpy.random.RandomState
        Draws one permutation per epoch if `shuffle`.
    max_iter : int
        Largest number of epochs.
    shuffle : bool
        Whether each epoch takes the samples in a new order.
    tol : float
        Smaller improvements do not count.
    n_iter_no_change : float
        Epochs without improvement that are allowed.
    score : callable or None
        Returns the validation score of the engine's current parameters; decides instead of the
        loss where given.
    report : callable or None
        Gets a line of text for the user now and then.

    Returns
    -------
    Stop
        Why training ended.

    Raises
    ------
    DivergenceError
        If the loss is nan or a parameter is not finite. The parameters are then those of the last
        epoch that ended well, or the initial ones.
    """
    in_order = not shuffle and bool(np.array_equal(order, np.arange(order.size)))
    finite_params = engine.params.copy()
    progress.n_iter = 0
    try:
        for _ in range(max_iter):
            if shuffle:
                permutation = np.arange(order.size)
                random_state.shuffle(permutation)
                order = order[permutation]
            rates = schedule.rates(engine.n_batches)
            if engine.is_whole_batch:
                loss = engine.run_epoch(np.arange(order.size), True, rates)
            else:
                loss = engine.run_epoch(order, in_order, rates)
            if np.isnan(loss) or not np.isfinite(engine.params).all():
                engine.params[:] = finite_params
                raise DivergenceError
            finite_params[:] = engine.params
            progress.n_iter += 1
            progress.loss = loss
            progress.samples_seen += order.size
            progress.loss_curve.append(loss)
            if report:
                report(f"Iteration {progress.n_iter}, loss = {loss:.8f}")
            if score is None:
                progress.judge_loss(tol)
            else:
                progress.judge_score(score(), tol, engine.params)
                if report and progress.validation_scores:
                    report(f"Validation score: {progress.validation_scores[-1]:f}")
            schedule.after_epoch(progress.samples_seen)
            if progress.no_improvement_count > n_iter_no_change:
                decision = schedule.on_plateau()
                if report:
                    what = "Training loss" if score is None else "Validation score"
                    report(
                        f"{what} did not improve more than tol={tol:f} for "
                        f"{n_iter_no_change} consecutive epochs. {decision}"
                    )
                if decision.endswith("Stopping."):
                    return Stop.CONVERGED
                progress.no_improvement_count = 0
    except KeyboardInterrupt:
        if not np.isfinite(engine.params).all():
            engine.params[:] = finite_params
        return Stop.INTERRUPTED
    return Stop.MAX_ITER
