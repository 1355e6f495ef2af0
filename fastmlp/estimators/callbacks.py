"""What is called after each epoch: the callables of ``callbacks=[...]``, and a progress bar.

scikit-learn's own callbacks (`sklearn.callback`) are set with ``set_callbacks`` and called by
`fastmlp.estimators._sklearn_callbacks`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.training.trainer import Progress, Stop

__all__ = ["Epoch"]

AfterEpoch = Callable[[Progress], bool]


@dataclass(frozen=True)
class Epoch:
    """What a callback is told after an epoch, or after an iteration of L-BFGS.

    Attributes
    ----------
    epoch : int
        Number of the epoch in this fit, from 1.
    max_iter : int
        Largest number of epochs of this fit.
    loss : float
        Training loss of the epoch, each batch before its update.
    validation_loss : float or None
        Loss of the held-out samples after the epoch; None without such samples.
    validation_score : float or None
        Their score; None without early stopping.
    learning_rate : float
        Rate of the epoch's last step; nan for L-BFGS.
    samples_seen : int
        Samples trained on so far, earlier fits of a warm start and calls of ``partial_fit``
        included.
    seconds : float
        Time since training began.
    stop_reason : str or None
        Why training ends here, as in ``stop_reason_``; None if it goes on.
    estimator : estimator
        The model. It predicts with the parameters of this epoch, and has all fitted attributes.
        Do not fit it.
    """

    epoch: int
    max_iter: int
    loss: float
    validation_loss: float | None
    validation_score: float | None
    learning_rate: float
    samples_seen: int
    seconds: float
    stop_reason: str | None
    estimator: Any


def call_each(
    callbacks: Sequence[Callable[[Epoch], object]], estimator: Any, max_iter: int
) -> AfterEpoch:
    """Return the hook that calls the user's callables, each of them, after every epoch.

    Parameters
    ----------
    callbacks : sequence of callable
        Each takes an `Epoch`; one that returns True ends training.
    estimator : estimator
        The model.
    max_iter : int
        Largest number of epochs.

    Returns
    -------
    callable
        For `fit_epochs`.
    """
    started = time.perf_counter()

    def after_epoch(progress: Progress) -> bool:
        epoch = Epoch(
            epoch=progress.n_iter,
            max_iter=max_iter,
            loss=progress.loss,
            validation_loss=progress.validation_loss,
            validation_score=progress.validation_score,
            learning_rate=progress.learning_rate,
            samples_seen=progress.samples_seen,
            seconds=time.perf_counter() - started,
            stop_reason=progress.stop.value if progress.stop else None,
            estimator=estimator,
        )
        answers = [callback(epoch) for callback in callbacks]
        # What a plotting function returns, say, is no wish to stop.
        return any(isinstance(answer, (bool, np.bool_)) and answer for answer in answers)

    return after_epoch


@contextmanager
def progress_bar(title: str, max_iter: int) -> Iterator[AfterEpoch]:
    """Show a bar while training goes on: epochs, time left, last loss and score.

    Without the package rich, which the extra ``fastmlp[cli]`` installs, it is a line of text that
    is written anew.

    Parameters
    ----------
    title : str
        What stands before the bar.
    max_iter : int
        Epochs that fill it.

    Yields
    ------
    callable
        For `fit_epochs`.
    """
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
    except ImportError:
        with _text_bar(title, max_iter) as after_epoch:
            yield after_epoch
        return
    columns = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),  # the rest of 80 columns is needed
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[values]}"),
    ]
    with Bar(*columns) as bar:
        task = bar.add_task(title, total=max_iter, values="")

        def after_epoch(progress: Progress) -> bool:
            # A fit that ends early has nothing left to do.
            ended = progress.stop is not None and progress.stop is not Stop.INTERRUPTED
            bar.update(
                task,
                completed=progress.n_iter,
                total=progress.n_iter if ended else max_iter,
                values=_values(progress),
            )
            return False

        yield after_epoch


@contextmanager
def _text_bar(title: str, max_iter: int) -> Iterator[AfterEpoch]:
    latest, shown = "", -1.0

    def after_epoch(progress: Progress) -> bool:
        nonlocal latest, shown
        latest = f"{title} {progress.n_iter}/{max_iter} {_values(progress)}"
        if sys.stdout.isatty() and time.perf_counter() - shown > 0.1:
            shown = time.perf_counter()
            print(f"\r{latest}", end="", flush=True)
        return False

    try:
        yield after_epoch
    finally:
        if latest:
            print(f"\r{latest}" if shown >= 0 else latest, flush=True)


def _values(progress: Progress) -> str:
    parts = [f"loss {progress.loss:.4f}"]
    if progress.validation_loss is not None:
        parts.append(f"val {progress.validation_loss:.4f}")
    if progress.validation_score is not None:
        parts.append(f"score {progress.validation_score:.4f}")
    return ", ".join(parts)
