"""The loop over epochs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.training.data import Indices, sample_numbers
from fastmlp.training.engine import Engine
from fastmlp.training.schedules import Schedule
from fastmlp.training.shuffling import Shuffle

__all__ = ["DivergenceError", "Progress", "Stop", "fit_epochs"]

Floats = NDArray[Any]


class Stop(Enum):
    """Why training ended."""

    CONVERGED = "converged"
    MAX_ITER = "max_iter"
    TIME_LIMIT = "time_limit"
    CALLBACK = "callback"
    INTERRUPTED = "interrupted"
    DIVERGED = "diverged"
    # L-BFGS found no better point though there should be one.
    ABNORMAL = "abnormal"


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
    learning_rate : float
        Rate of the last step; nan where steps have none (L-BFGS).
    learning_rate_curve : list of float
        Rate of the last step of each epoch.
    validation_loss : float or None
        Loss of the held-out samples after the last epoch; None without such samples.
    validation_loss_curve : list of float or None
        That loss after each epoch, nan after epochs without such samples.
    validation_score : float or None
        Score of the held-out samples after the last epoch; None without early stopping.
    validation_scores : list of float or None
        Validation score of each epoch; None without early stopping.
    best_validation_score : float or None
        Best score; None without early stopping.
    best_params : ndarray or None
        Parameters at the best score.
    no_improvement_count : int
        Epochs since the loss or score last improved by more than tol.
    stop : Stop or None
        Why training ended; None while it goes on.
    """

    n_iter: int = 0
    samples_seen: int = 0
    loss: float = np.nan
    loss_curve: list[float] = field(default_factory=list)
    best_loss: float | None = np.inf
    learning_rate: float = np.nan
    learning_rate_curve: list[float] = field(default_factory=list)
    validation_loss: float | None = None
    validation_loss_curve: list[float] | None = None
    validation_score: float | None = None
    validation_scores: list[float] | None = None
    best_validation_score: float | None = None
    best_params: Floats | None = None
    no_improvement_count: int = 0
    stop: Stop | None = None

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

    # Copies and files hold the reason by its value: skops knows no enumerations.
    def __getstate__(self) -> dict[str, Any]:
        """Return the state to copy or pickle.

        Returns
        -------
        dict
            All attributes, `stop` as a string.
        """
        return {**vars(self), "stop": self.stop.value if self.stop else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state over.

        Parameters
        ----------
        state : dict
            From ``__getstate__``.
        """
        stop = state["stop"]
        vars(self).update({**state, "stop": None if stop is None else Stop(stop)})

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

    def note_validation_loss(self, loss: float) -> None:
        """Note the loss of the held-out samples after the last epoch.

        Parameters
        ----------
        loss : float
            Their mean loss.
        """
        curve = self.validation_loss_curve or []
        n_missing = len(self.loss_curve) - 1 - len(curve)
        self.validation_loss = loss
        self.validation_loss_curve = [*curve, *[np.nan] * n_missing] if n_missing > 0 else curve
        self.validation_loss_curve.append(loss)

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
        self.validation_score = score
        self.validation_scores.append(score)
        has_improved = not score < self.best_validation_score + tol
        self.no_improvement_count = 0 if has_improved else self.no_improvement_count + 1
        if score > self.best_validation_score:
            self.best_validation_score = score
            self.best_params = params.copy()


def fit_epochs(
    engine: Engine,
    order: Indices,
    progress: Progress,
    schedule: Schedule,
    random_state: np.random.RandomState,
    *,
    max_iter: int,
    shuffle: bool,
    tol: float,
    n_iter_no_change: float,
    validate: Callable[[], tuple[float, float | None]] | None = None,
    report: Callable[[str], None] | None = None,
    time_limit: float | None = None,
    after_epoch: Callable[[Progress], bool] | None = None,
    resumes: bool = False,
) -> Stop:
    """Train for some epochs, or until there is no more improvement.

    Parameters
    ----------
    engine : Engine
        An engine that was entered.
    order : ndarray of int32, shape (n_samples,)
        Which samples, in which order. **Overwritten** by the order of the last epoch if
        `shuffle`.
    progress : Progress
        **Overwritten.**
    schedule : Schedule
        Learning rates. **Overwritten** as training proceeds.
    random_state : numpy.random.RandomState
        Draws one permutation per epoch if `shuffle`, and a seed if the engine has noise.
    max_iter : int
        Largest number of epochs.
    shuffle : bool
        Whether each epoch takes the samples in a new order.
    tol : float
        Smaller improvements do not count.
    n_iter_no_change : float
        Epochs without improvement that are allowed.
    validate : callable or None
        Returns loss and score of held-out samples for the engine's current parameters. The score
        decides instead of the training loss, unless it is None.
    report : callable or None
        Gets a line of text for the user now and then.
    time_limit : float or None
        Seconds after which no further epoch is begun.
    after_epoch : callable or None
        Called with the progress after each epoch, when all else is done: the state is that from
        which training could go on, and ``progress.stop`` says whether it is going to. Training
        ends if it returns True.
    resumes : bool, default=False
        Whether `progress` is that of the same fit, after one of its epochs.

    Returns
    -------
    Stop
        Why training ended; also in ``progress.stop``.

    Raises
    ------
    DivergenceError
        If the loss is nan or a parameter is not finite. The parameters are then those of the last
        epoch that ended well, or the initial ones.
    """
    # All samples in one step are taken as they lie, whatever their order.
    taken = sample_numbers(0, order.size) if engine.is_whole_batch else order
    in_order = engine.is_whole_batch or (
        not shuffle and bool(np.array_equal(order, sample_numbers(0, order.size)))
    )
    finite_params = engine.params.copy()
    if not resumes:
        progress.n_iter, progress.stop = 0, None if max_iter > 0 else Stop.MAX_ITER
        progress.validation_loss = progress.validation_score = None
    started = time.perf_counter()
    try:
        shuffle_samples = Shuffle(random_state) if shuffle else None
        # Nobody wants to know or do anything between epochs.
        is_alone = validate is None and report is None and after_epoch is None
        may_hurry = (
            is_alone
            and time_limit is None
            and schedule.is_steady
            and not engine.has_noise
            and (shuffle_samples is None or shuffle_samples.is_known)
            # Kernels compute with float64, which other types of numbers might not.
            and isinstance(tol, (int, float))
        )
        while progress.stop is None:
            if shuffle_samples is not None:
                # scikit-learn shuffles indices of the old order, and takes it by them. The swaps
                # do not depend on what is swapped: this is the same.
                shuffle_samples(order)
            seed = int(random_state.randint(2**31)) if engine.has_noise else 0
            rates = schedule.rates(engine.n_batches)
            n_epochs = int(min(engine.epochs_per_call, max_iter - progress.n_iter))
            if may_hurry and n_epochs > 1:
                best = np.inf if progress.best_loss is None else progress.best_loss
                judged = np.array(
                    [best, tol, progress.no_improvement_count, n_iter_no_change], np.float64
                )
                losses: list[float] = []
                try:
                    engine.run_epochs(
                        n_epochs, order, taken, in_order, rates, shuffle_samples, judged,
                        finite_params, losses,
                    )  # fmt: skip
                    loss = losses.pop()
                finally:
                    # All but the last, unless there is an interrupt.
                    for ended in losses:
                        if not math.isnan(ended):
                            _note_epoch(progress, ended, order.size, rates)
                            progress.judge_loss(tol)
            else:
                loss = engine.run_epoch(taken, in_order, rates, seed)
            if not _keep_if_finite(loss, engine.params, finite_params):
                engine.params[:] = finite_params
                progress.stop = Stop.DIVERGED
                raise DivergenceError
            _note_epoch(progress, loss, order.size, rates)
            if report:
                report(f"Iteration {progress.n_iter}, loss = {loss:.8f}")
            _judge(progress, engine.params, tol, validate, report)
            schedule.after_epoch(progress.samples_seen)
            if progress.no_improvement_count > n_iter_no_change:
                _meet_plateau(progress, schedule, tol, n_iter_no_change, report)
            if progress.stop is not Stop.CONVERGED:
                if progress.n_iter >= max_iter:
                    progress.stop = Stop.MAX_ITER
                elif time_limit is not None and time.perf_counter() - started >= time_limit:
                    progress.stop = Stop.TIME_LIMIT
                    if report:
                        report(f"time_limit={time_limit} is over. Stopping.")
            if (
                after_epoch is not None
                and after_epoch(progress)
                and progress.stop is not Stop.CONVERGED
            ):
                progress.stop = Stop.CALLBACK
    except KeyboardInterrupt:
        if not np.isfinite(engine.params).all():
            engine.params[:] = finite_params
        progress.stop = Stop.INTERRUPTED
    return progress.stop


def _note_epoch(progress: Progress, loss: float, n_samples: int, rates: Floats) -> None:
    progress.n_iter += 1
    progress.loss = loss
    progress.samples_seen += n_samples
    progress.loss_curve.append(loss)
    progress.learning_rate = float(rates[-1])
    progress.learning_rate_curve.append(progress.learning_rate)


def _keep_if_finite(loss: float, params: Floats, kept: Floats) -> bool:
    """Copy the parameters if all is well with them and the loss, and return whether it is."""
    # Counting takes a third of the time of `all`, which counts where a network is tiny.
    if math.isnan(loss) or np.count_nonzero(np.isfinite(params)) < params.size:
        return False
    kept[:] = params
    return True


def _judge(
    progress: Progress,
    params: Floats,
    tol: float,
    validate: Callable[[], tuple[float, float | None]] | None,
    report: Callable[[str], None] | None,
) -> None:
    """Compare what the epoch reached with the best so far."""
    score = None
    if validate is not None:
        loss, score = validate()
        progress.note_validation_loss(loss)
    if score is not None:
        progress.judge_score(score, tol, params)
    else:
        progress.judge_loss(tol)
    if report and progress.validation_score is not None:
        report(f"Validation score: {progress.validation_score:f}")
    elif report and progress.validation_loss is not None:
        report(f"Validation loss: {progress.validation_loss:.8f}")


def _meet_plateau(
    progress: Progress,
    schedule: Schedule,
    tol: float,
    n_iter_no_change: float,
    report: Callable[[str], None] | None,
) -> None:
    """Let the schedule lower its rate, or stop."""
    decision = schedule.on_plateau()
    if report:
        what = "Training loss" if progress.validation_score is None else "Validation score"
        report(
            f"{what} did not improve more than tol={tol:f} for {n_iter_no_change} consecutive "
            f"epochs. {decision}"
        )
    if decision.endswith("Stopping."):
        progress.stop = Stop.CONVERGED
    else:
        progress.no_improvement_count = 0
